"""FinishedRun: a validation read back from the folder that `tencrop evaluate --out` left."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tencrop.common.errors import BadInput
from tencrop.evaluation.agreement import MOST
from tencrop.evaluation.prediction_records import read_records
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.summary import Summary, read_summary
from tencrop.model.measured_errors import SUMMARY_FILE, VIEWS

ALMOST_ONE = 1.001  # no probability is above it; a mean of rounded ones may be above 1


@dataclass(frozen=True)
class FinishedRun:
    """A finished validation of n images, ordered by id."""

    folder: str  # as the user named it
    summary: Summary
    ids: pa.ChunkedArray  # string [n]
    labels: np.ndarray  # int32 [n], the true classes
    predictions: Mapping[str, Predictions]  # by each kind of VIEWS


def open_run(folder: Path) -> FinishedRun:
    """Read the run in `folder`. Raises BadInput where a file of it is missing, damaged or of something else."""
    summary, records = _read_summary(folder), folder / "predictions.parquet"
    try:
        table = read_records(records)
        if not summary.n or table.num_rows != summary.n or table["id"].null_count:
            raise BadInput(f"{records}: not the {summary.n} predictions that summary.json counts", "evaluate again")
        table = table.sort_by("id").combine_chunks()
        predictions = {kind: Predictions.from_table(table, kind) for kind in VIEWS}
        for of in predictions.values():
            _check_scores(of)
        labels = table["label"].chunk(0).to_numpy()
    except (OSError, ValueError, pa.ArrowException):
        raise BadInput(f"{records}: missing or damaged", "evaluate again") from None
    return FinishedRun(str(folder), summary, table["id"], labels, predictions)


def _check_scores(of: Predictions) -> None:
    """Raises ValueError where a score is outside its range."""
    for scores, least, most in (
        (of.probabilities, -1.0, ALMOST_ONE),
        (of.true_probability, 0.0, ALMOST_ONE),
        (of.brier, -0.001, 2 * ALMOST_ONE),
        (of.agreement, -1, MOST),
    ):
        if ((scores < least) | (scores > most)).any():
            raise ValueError("a score outside its range")


def _read_summary(folder: Path) -> Summary:
    file = folder / SUMMARY_FILE
    if not file.exists() and (folder / "parts").is_dir():
        raise BadInput(f"{folder}: this run is not finished", "`tencrop evaluate` with --resume goes on with it")
    if not file.exists():
        advice = f"`tencrop evaluate DATA --out {folder}` makes one"
        raise BadInput(f"{folder}: no validation here (no {SUMMARY_FILE})", advice)
    return read_summary(file)
