"""Settings of an epoch, computed from the recipe and the past errors alone, so that resuming needs no saved state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tencrop.model.run_progress import EpochRecord
from tencrop.training.recipe import Plateau, Recipe


@dataclass(frozen=True)
class EpochSettings:
    """Rates and switches of one epoch."""

    scale: float = 1.0  # factor of every rate
    layer_lr: Mapping[str, float] = field(default_factory=dict)  # layers whose weights have a rate of their own
    frozen: frozenset[str] = frozenset()  # layers that are not updated
    noise: bool = True  # colour noise


def compute_epoch_settings(recipe: Recipe, history: Sequence[EpochRecord]) -> EpochSettings | None:
    """Settings of the epoch after `history`; None where training is over."""
    done = len(history)
    drops = count_drops(recipe.plateau, [record.center_top1_error for record in history]) if recipe.plateau else 0
    if done and recipe.until_train_error and history[-1].train_error <= recipe.until_train_error:
        return None
    if done >= recipe.epochs or (recipe.plateau and drops > recipe.plateau.drops):
        return None
    scale = recipe.plateau.divide**-drops if recipe.plateau else 1.0
    always = recipe.optim.frozen
    settings = EpochSettings(scale, frozen=always)
    for event in sorted(recipe.events, key=lambda event: event.after):
        if event.after <= done:
            scale = settings.scale / event.divide
            settings = EpochSettings(scale, event.layer_lr, always.union(event.frozen), event.noise)
    return settings


def count_drops(plateau: Plateau, errors: Sequence[float]) -> int:
    """Count how often the error stopped improving: `patience` epochs without a new lowest error since the last drop.

    A count of `plateau.drops` + 1 ends the training: the last rate has stopped helping too (section 5).
    """
    drops, lowest, since = 0, float("inf"), 0
    for error in errors:
        lowest, since = (error, 0) if error < lowest else (lowest, since + 1)
        if since >= plateau.patience:
            drops, since = drops + 1, 0
    return drops
