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


def check_squares(start: Checkpoint, name: object, prepared: PreparedStore) -> None:
    """Check that the start, which `name` names, saw images as the data set has them.

    Raises BadInput where their sizes or the filter that resized them are others.
    """
    theirs, ours = ((each.resize, each.crop) for each in (start.contract, prepared.contract))
    if theirs != ours:
        raise BadInput(
            f"{name}: its net sees images of {theirs[0]} pixels in crops of {theirs[1]}, and {prepared.root} "
            f"has images of {ours[0]} for crops of {ours[1]}",
            "start from another net",
        )
    if start.contract.filter != prepared.contract.filter:
        raise BadInput(
            f"{name}: its net sees images that the {start.contract.filter} filter resized, and those of "
            f"{prepared.root} the {prepared.contract.filter} one",
            f"prepare them again: tencrop prepare DATA OUT --filter {start.contract.filter}",
        )
