"""Makes a graph take a batch of any size, as ten views need: freed where that is exact, else view by view in a loop."""

from copy import deepcopy
from typing import NamedTuple

import numpy as np
import onnx

from tencrop.common.errors import BadInput, whole_line
from tencrop.export.importers.batch_freeing import free_batch
from tencrop.export.importers.batch_place import FixedBatch
from tencrop.export.importers.constant_folding import fold_constants
from tencrop.export.importers.source_input import SourceInput
from tencrop.export.importers.view_loop import loop_over_views
from tencrop.export.session import open_session

TRIAL_TOLERANCE = 1e-4  # difference between scores of a batch and of single views, relative to the largest


class Trial(NamedTuple):
    """Ten inputs, and the source's answers to them, each in a batch of the source's own size."""

    inputs: np.ndarray  # [10,...]
    scores: np.ndarray  # [10,C]


def make_any_batch(
    model: onnx.ModelProto, source_input: SourceInput, trial: Trial, name: str
) -> tuple[onnx.ModelProto, str | None]:
    """Returns the graph for any batch, and a line for a person where it runs view by view.

    Raises BadInput, naming the net `name`, for a batch that is fixed to several images and cannot be freed.
    """
    if not source_input.batch:
        return model, None
    fold_constants(model, source_input.sides)
    freed = deepcopy(model)
    try:
        free_batch(freed)
        _check_answers(freed, source_input.name, trial)
    except FixedBatch as why:
        advice = f"export it with a dynamic batch: {source_input.advice}"
        if source_input.batch > 1:
            raise BadInput(f"{name}: its batch is fixed to {source_input.batch}: {why}", advice) from None
        loop_over_views(model)
        return model, f"the net runs view by view, one after the other: its batch is fixed to 1 ({why}); {advice}"
    return freed, None


def _check_answers(model: onnx.ModelProto, image: str, trial: Trial) -> None:
    """Ask for all inputs at once. Raises FixedBatch where the run fails, or answers otherwise than the source."""
    try:
        (found,) = open_session(model.SerializeToString()).run(None, {image: trial.inputs})
    except Exception as error:  # types of the runtime's own
        raise FixedBatch(f"onnxruntime runs no ten views at once: {whole_line(error)}") from None
    is_row = found.size == trial.scores.size
    limit = TRIAL_TOLERANCE * np.abs(trial.scores).max()
    if not is_row or not np.abs(found.reshape(trial.scores.shape) - trial.scores).max() <= limit:
        raise FixedBatch("views that are computed together change each other's answers")
