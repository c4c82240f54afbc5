"""Opens the shadow of --shadow NAME=MODEL, and what it keeps in the state directory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

from tencrop.common.errors import BadInput
from tencrop.model.contract import Contract
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.runtime.ensemble import Predictor
from tencrop.server.batcher import warm_up
from tencrop.server.feedback_store import FeedbackStore
from tencrop.server.kept_squares import KeptSquares
from tencrop.server.settings import Settings
from tencrop.server.state_folder import PRIVATE, lock_state_folder

SQUARE = ("resize", "filter", "channels", "decode")  # fields of a contract that a square depends on


class OpenShadow(NamedTuple):
    """A shadow that has run once, and what it keeps; `lock` holds its folder while it is open."""

    name: str
    model: Predictor
    feedback: FeedbackStore | None = None
    squares: KeptSquares | None = None
    lock: IO[str] | None = None


def open_shadow(settings: Settings, options: EngineOptions, served: Sequence[Predictor]) -> OpenShadow | None:
    """Open the shadow of the first served model on the first device of the options; None where none is asked for.

    Raises BadInput, also where a square of that model is none of the shadow, or where they differ in classes.
    """
    if settings.shadow is None:
        if settings.feedback or settings.keep_disagreements:
            flag = "--feedback" if settings.feedback else "--keep-disagreements"
            raise BadInput(f"{flag}: there is no shadow", "add --shadow NAME=MODEL")
        return None
    name, _, path = settings.shadow.partition("=")
    if name in (model.name for model in served):
        raise BadInput(f"--shadow {settings.shadow}: a served model is named {name!r}", "choose another name")
    device = options.device.partition(",")[0]
    model = open_classifier(Path(path), replace(options, device=device, streams=1))
    check_comparable(served[0].name, served[0].contract, name, model.contract)
    warm_up(model, 1)
    if not settings.feedback and not settings.keep_disagreements:
        return OpenShadow(name, model)
    pair = f"{served[0].sha256[:16]}-{model.sha256[:16]}"
    folder, lock = lock_state_folder(settings.state_dir / "shadow", pair, PRIVATE)
    feedback = FeedbackStore(folder / "feedback.sqlite") if settings.feedback else None
    squares = KeptSquares(folder, settings.keep_disagreements) if settings.keep_disagreements else None
    return OpenShadow(name, model, feedback, squares, lock)


def check_comparable(model: str, contract: Contract, shadow: str, other: Contract) -> None:
    """Check that a shadow takes a model's squares and has its classes, in any order. Raises BadInput.

    A shadow with squares of its own would have to decode each image anew, at the cost of the requests, and would
    compare two decoders rather than two nets.
    """
    for field in SQUARE:
        ours, others = getattr(contract, field), getattr(other, field)
        if ours != others:
            what = f"--shadow {shadow}: it takes other squares than {model}: {field} is {others}, not {ours}"
            raise BadInput(what, "compare them with `tencrop evaluate` and `tencrop compare`")
    ids, other_ids = ({label.id for label in each.labels} for each in (contract, other))
    if ids != other_ids:
        first = min(ids ^ other_ids)
        alone = model if first in ids else shadow
        what = f"--shadow {shadow}: it has other classes than {model}: {first!r} is in {alone} alone"
        raise BadInput(what, "choose a model of the same classes")
