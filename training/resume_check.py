"""Checks before a run is resumed: the checkpoint must be whole, and of the same net, data set and recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import parse
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint, DamagedCheckpoint, find_misfits
from tencrop.model.run_progress import EpochProgress, EpochRecord
from tencrop.training.loader import EpochOrder
from tencrop.training.recipe import Recipe, compare_recipes, to_plain
from tencrop.training.schedule import compute_epoch_settings

# Recipe keys that may change: they decide what the run does next, not what it did.
FREE_TO_CHANGE = frozenset(["name", "about", "epochs", "events", "plateau", "until_train_error", "expect", "compile"])


def check_resumable(
    saved: Checkpoint, source: Path, recipe: Recipe, prepared: PreparedStore, precision: str
) -> list[tuple[str, Any, Any]]:
    """Check that a run can continue from a checkpoint; returns the recipe's changes as (key, old, new).

    `source` names the checkpoint in messages. Raises DamagedCheckpoint where a part is missing or wrong, BadInput where
    the checkpoint has another net, data set or value of a key that must stay.
    """
    if fault := _find_momentum_fault(saved):
        raise DamagedCheckpoint(f"{source}: {fault}")
    same_mean = np.array_equal(saved.statistics.mean, prepared.statistics.mean)
    if saved.contract != prepared.contract or not same_mean or saved.net != recipe.net:
        raise BadInput("--resume: the run's checkpoint is of another net or data set", "choose another --out")
    try:
        old_recipe = parse(Recipe, saved.recipe, f"{source}: damaged checkpoint: recipe")
    except BadInput as error:
        raise DamagedCheckpoint(error.what) from None
    changes = list(compare_recipes(to_plain(old_recipe), to_plain(recipe)))
    for key, old, new in changes:
        if key.split(".")[0] not in FREE_TO_CHANGE:
            raise BadInput(
                f"--resume: the run was started with {key} = {old}, now it is {new}", "keep it, or choose another --out"
            )
    progress = saved.run_progress
    if fault := _find_position_fault(progress.part, EpochOrder(prepared, recipe, (0, 1))):
        raise DamagedCheckpoint(f"{source}: damaged checkpoint: progress.part has {fault}")
    if bool(progress.scaler) != (precision == "fp16"):
        raise DamagedCheckpoint(f"{source}: damaged checkpoint: progress.scaler is not that of {precision}")
    return changes


def _find_momentum_fault(saved: Checkpoint) -> str | None:
    """Describe what keeps the training from going on: it takes weights and a velocity for each of them, in fp32."""
    if not saved.training:
        return "has no momentum to resume with"
    shapes = {name: value.shape for name, value in saved.weights.items()}
    shapes |= {f"velocity.{name}": shape for name, shape in shapes.items()}
    return next(find_misfits({**saved.weights, **saved.training}, shapes, (np.float32,)), None)


def _find_position_fault(part: EpochProgress, order: EpochOrder) -> str | None:
    """Describe a position that an epoch of these batches does not have."""
    if part.steps >= len(order):
        return f"{part.steps} batches, and a whole epoch {len(order)}"
    if round(part.wrong) > part.steps * order.batch:
        return f"{part.wrong:g} wrong guesses in {part.steps} batches of {order.batch}"
    return None


def check_schedule(recipe: Recipe, history: Sequence[EpochRecord]) -> None:
    """Refuse a changed schedule whose next epoch has a higher rate than the last one had. Raises BadInput."""
    settings = compute_epoch_settings(recipe, history)
    if settings and history and (rate := recipe.optim.lr * settings.scale) > history[-1].lr:
        raise BadInput(
            f"--resume: epoch {len(history) + 1} would have a rate of {rate:g}, the epoch before had "
            f"{history[-1].lr:g}: another number of epochs moves every drop of the schedule",
            "give the epochs that the run was started with, or events=[...] too",
        )
