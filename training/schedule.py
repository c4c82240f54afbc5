"""What holds in an epoch: a pure function of the recipe and of the validation errors so far, so resuming needs no state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tencrop.training.recipe import Plateau, Recipe


@dataclass(frozen=True)
class EpochSettings:
    """The rates of one epoch: `scale` of every lr, layers with a rate of their own, frozen layers, colour noise on or off."""

    scale: float = 1.0
    layer_lr: Mapping[str, float] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()
    noise: bool = True


def compute_epoch_settings(recipe: Recipe, history: Sequence[Mapping[str, float]]) -> EpochSettings | None:
    """The phase of the next epoch after these epochs; None: training is over.

    Of each epoch it reads `center_top1_error` (validation) and `train_error`, both fractions.
    """
    done = len(history)
    drops = plateau_drops(recipe.plateau, [row["center_top1_error"] for row in history]) if recipe.plateau else 0
    if done and recipe.until_train_error and history[-1]["train_error"] <= recipe.until_train_error:
        return None
    if done >= recipe.epochs or (recipe.plateau and drops > recipe.plateau.drops):
        return None
    scale = recipe.plateau.divide**-drops if recipe.plateau else 1.0
    now = EpochSettings(scale)
    for event in sorted(recipe.events, key=lambda event: event.after):
        if event.after <= done:
            now = EpochSettings(now.scale / event.divide, event.layer_lr, frozenset(event.frozen), event.noise)
    return now


def plateau_drops(plateau: Plateau, errors: Sequence[float]) -> int:
    """How often the error had stopped improving: `patience` epochs without a new lowest one, counted anew after each drop.

    One more than `plateau.drops` means that the last rate has stopped helping too: the end (section 5).
    """
    drops, lowest, since = 0, float("inf"), 0
    for error in errors:
        lowest, since = (error, 0) if error < lowest else (lowest, since + 1)
        if since >= plateau.patience:
            drops, since = drops + 1, 0
    return drops
