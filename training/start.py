"""The net that a training starts from: a checkpoint, a run's newest one, or that of an exported or imported net."""

from pathlib import Path
from typing import Any

from tencrop.model.checkpoint import DOCUMENT, Checkpoint
from tencrop.model.run_checkpoints import find_checkpoint

BESIDE = "checkpoint"  # the checkpoint in a folder that export or import wrote


def find_start(folder: Path) -> Path:
    """Find the checkpoint that `start` names. A folder without any is returned, for `Checkpoint.load` to refuse.

    Raises DamagedCheckpoint where the folder is a run without a whole checkpoint.
    """
    beside = folder / BESIDE
    return beside if (beside / DOCUMENT).is_file() else find_checkpoint(folder)


def read_start_net(checkpoint: Path) -> dict[str, Any]:
    """Read what a recipe with `net_from = "start"` takes over: the keys `net` and `mean` of a recipe.

    Raises DamagedCheckpoint where there is no whole checkpoint.
    """
    recipe = Checkpoint.load(checkpoint).recipe
    return {key: recipe[key] for key in ("net", "mean")}
