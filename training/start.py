"""The net that a training starts from: what a recipe takes over of it, and whether it fits the data."""

from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint


def read_start_net(checkpoint: Path) -> dict[str, Any]:
    """Read what a recipe with `net_from = "start"` takes over: the keys `net` and `mean` of a recipe.

    Raises DamagedCheckpoint where there is no whole checkpoint.
    """
    recipe = Checkpoint.load(checkpoint).recipe
    return {key: recipe[key] for key in ("net", "mean")}


def check_sizes(start: Checkpoint, name: object, prepared: PreparedStore) -> None:
    """Raise BadInput where the start, which `name` names, saw images of another size than the data set has."""
    theirs, ours = ((each.resize, each.crop) for each in (start.contract, prepared.contract))
    if theirs != ours:
        raise BadInput(
            f"{name}: its net sees images of {theirs[0]} pixels in crops of {theirs[1]}, and {prepared.root} "
            f"has images of {ours[0]} for crops of {ours[1]}",
            "start from another net",
        )
