"""Checks before a run is resumed: the checkpoint must belong to the same net, data set and recipe."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import parse
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.training.epoch_record import EpochRecord
from tencrop.training.recipe import Recipe, compare_recipes, to_plain
from tencrop.training.schedule import compute_epoch_settings

# Recipe keys that may change: they decide what the run does next, not what it did.
FREE_TO_CHANGE = frozenset(["name", "about", "epochs", "events", "plateau", "until_train_error", "expect", "compile"])


def check_same_run(
    saved: Checkpoint, recipe: Recipe, prepared: PreparedStore, velocities: set[str]
) -> list[tuple[str, Any, Any]]:
    """Compare a checkpoint with the run that resumes; returns the recipe's changes as (key, old, new).

    `velocities` names the tensors that the optimizer needs. Raises BadInput where net, data set or a key that must
    stay differs, and where the checkpoint has no velocities.
    """
    same_mean = np.array_equal(saved.statistics.mean, prepared.statistics.mean)
    if saved.contract != prepared.contract or not same_mean or saved.net != recipe.net:
        raise BadInput("--resume: the run's checkpoint is of another net or data set", "choose another --out")
    if saved.training.keys() != velocities:
        raise BadInput(
            "--resume: the run's checkpoint has no momentum to resume with",
            "name it by --set start=CHECKPOINT in another --out",
        )
    old_recipe = parse(Recipe, saved.recipe, "--resume: the checkpoint's recipe")
    changes = list(compare_recipes(to_plain(old_recipe), to_plain(recipe)))
    for key, old, new in changes:
        if key.split(".")[0] not in FREE_TO_CHANGE:
            raise BadInput(
                f"--resume: the run was started with {key} = {old}, now it is {new}", "keep it, or choose another --out"
            )
    return changes


def check_schedule(recipe: Recipe, history: Sequence[EpochRecord]) -> None:
    """Refuse a changed schedule whose next epoch has a higher rate than the last one had. Raises BadInput."""
    settings = compute_epoch_settings(recipe, history)
    if settings and history and (rate := recipe.optim.lr * settings.scale) > history[-1].lr:
        raise BadInput(
            f"--resume: epoch {len(history) + 1} would have a rate of {rate:g}, the epoch before had "
            f"{history[-1].lr:g}: another number of epochs moves every drop of the schedule",
            "give the epochs that the run was started with, or events=[...] too",
        )
