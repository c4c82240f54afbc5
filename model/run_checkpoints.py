"""The checkpoints of a training's run folder, by their names."""

import logging
import re
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.model.checkpoint import DOCUMENT, Checkpoint, DamagedCheckpoint
from tencrop.model.run_progress import RunProgress

CHECKPOINT_NAME = re.compile(r"checkpoint-\d{4,}(\+\d{6,})?")

INNER = "checkpoint"  # folder beside a tencrop.onnx

log = logging.getLogger(__name__)


def list_checkpoints(run: Path) -> list[Path]:
    """List the complete checkpoints of a run folder, oldest first. A copy under another name is not listed."""
    return sorted((path for path in run.glob("checkpoint-*") if CHECKPOINT_NAME.fullmatch(path.name)), key=position)


def holds_checkpoint(folder: Path) -> bool:
    """Return whether a folder is a checkpoint, or a run folder with one."""
    return any((place / DOCUMENT).is_file() for place in (folder, *list_checkpoints(folder)))


def name_checkpoint(progress: RunProgress) -> str:
    """checkpoint-EPOCHS, or checkpoint-EPOCHS+BATCHES within an epoch."""
    steps = progress.part.steps
    return f"checkpoint-{len(progress.history):04d}" + (f"+{steps:06d}" if steps else "")


def position(checkpoint: Path) -> tuple[int, int]:
    """Epochs and batches by a checkpoint's name."""
    epochs, _, steps = checkpoint.name.removeprefix("checkpoint-").partition("+")
    return int(epochs), int(steps or 0)


def find_checkpoint(folder: Path) -> Path:
    """Return a checkpoint folder itself, the newest whole checkpoint of a run folder, or the one beside a model.

    The newest one is logged, and a warning names each damaged one that is passed over. Raises DamagedCheckpoint where
    the run holds no whole one. A folder without any is returned, for `Checkpoint.load` to refuse.
    """
    if (folder / DOCUMENT).exists():
        return folder
    if not (found := list_checkpoints(folder)):
        return folder / INNER if (folder / INNER / DOCUMENT).is_file() else folder
    for path in reversed(found):
        try:
            Checkpoint.load(path)
        except BadInput as error:
            log.warning("%s is passed over: %s", path.name, error.what)
        else:
            log.info("%s: the newest whole checkpoint is %s", folder, path.name)
            return path
    raise DamagedCheckpoint(f"{folder}: none of its {len(found)} checkpoints is whole")
