"""Initial weights of a training: drawn from the recipe's seed, and taken from the checkpoint that it starts from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Contract
from tencrop.model.layer_table import layer_table
from tencrop.model.lowrank import factorise_weights
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.model.net import AlexNet
from tencrop.training.recipe import Recipe
from tencrop.training.start import check_squares

Weights = Mapping[str, np.ndarray]  # parameters by their names
OTHER_CLASSES = "other classes"
OTHER_SHAPE = "other shape"
MISSING = "not in the start"
UNNAMED = "not named in the recipe"


class InitialWeights(NamedTuple):
    """The weights before the first step, and their origin where a training starts from another net."""

    weights: Weights  # of the whole net
    taken: tuple[str, ...] = ()  # layers that have the start's weights, factorised to the recipe's ranks
    drawn: Mapping[str, str] = {}  # layers that the start has no weights for, with the reason

    def describe(self) -> str:
        """Say in one line which layers were taken and drawn."""
        drawn = ", ".join(f"{name} ({reason})" for name, reason in self.drawn.items())
        return f"{', '.join(self.taken)} taken; drawn: {drawn or 'none'}"


def load_start(recipe: Recipe, prepared: PreparedStore) -> Checkpoint | None:
    """Read the checkpoint that the recipe starts from; None where it starts from none.

    Raises BadInput where the recipe needs one, or where the start saw images of another size than the data set has.
    """
    if not recipe.start:
        if recipe.take or "start" in (recipe.net_from, recipe.statistics_from):
            raise BadInput(f"recipe {recipe.name}: it fine-tunes another net", "add --start CHECKPOINT")
        return None
    start = Checkpoint.load(Path(recipe.start))
    check_squares(start, recipe.start, prepared)
    return start


def choose_statistics(recipe: Recipe, start: Checkpoint | None, prepared: PreparedStore) -> PixelStatistics:
    """Choose the mean image and colour PCA. Where an imported start knows no colours, those of the data are taken."""
    if start is None or recipe.statistics_from == "data":
        return prepared.statistics
    if start.statistics.colour_std.any():
        return start.statistics
    return replace(prepared.statistics, mean=start.statistics.mean)


def draw_weights(recipe: Recipe) -> InitialWeights:
    """Draw all weights of a net. Raises BadInput for low-rank layers, which are made from trained ones."""
    if recipe.net.fc6.rank or recipe.net.fc7.rank:  # fc8's two matrices were drawn in 2012: net 146 on 21,843 classes
        raise BadInput(
            f"recipe {recipe.name}: low-rank layers are fine-tuned from a trained net", "add --start CHECKPOINT"
        )
    return InitialWeights(_draw(recipe))


def take_weights(recipe: Recipe, start: Checkpoint, prepared: PreparedStore) -> InitialWeights:
    """Take each layer whose names and shapes fit from the start, and draw the others.

    Where the recipe names the layers to take, no other is taken. The last layer is taken only where both have the same
    classes in the same order, by their ids.
    Raises BadInput where no layer fits or a named one does not, or where a rank is larger than its matrix.
    """
    last = layer_table(recipe.net)[-1].name
    same_classes = _class_ids(start.contract) == _class_ids(prepared.contract)
    ours = _by_layer(_draw(recipe))
    named = {*(recipe.take or ours)}
    usable = {each: value for each, value in start.weights.items() if _layer_of(each) in named}
    theirs = _by_layer(factorise_weights(usable if same_classes else _leave_out(usable, last), recipe.net))
    drawn = {}
    for layer, own in ours.items():
        if layer not in named:
            drawn[layer] = UNNAMED
        elif layer == last and not same_classes:
            drawn[layer] = OTHER_CLASSES
        elif layer not in theirs:
            drawn[layer] = MISSING
        elif _shapes(theirs[layer]) != _shapes(own):
            drawn[layer] = OTHER_SHAPE
    taken = tuple(layer for layer in ours if layer not in drawn)
    if misfit := next((layer for layer in recipe.take if layer in drawn), None):
        raise BadInput(f"{recipe.start}: recipe {recipe.name} takes {misfit} from it: {drawn[misfit]}")
    if not taken:
        raise BadInput(f"{recipe.start}: no layer fits the net of recipe {recipe.name}", "start from another net")
    chosen = [ours[layer] if layer in drawn else theirs[layer] for layer in ours]
    weights = {name: np.asarray(value, np.float32) for each in chosen for name, value in each.items()}
    return InitialWeights(weights, taken, drawn)


def _draw(recipe: Recipe) -> Weights:
    alexnet = AlexNet(recipe.net)
    alexnet.init(recipe.seed)
    return alexnet.weights()


def _class_ids(contract: Contract) -> list[str]:
    return [label.id for label in contract.labels]


def _leave_out(weights: Weights, layer: str) -> Weights:
    return {name: value for name, value in weights.items() if _layer_of(name) != layer}


def _by_layer(weights: Weights) -> dict[str, dict[str, np.ndarray]]:
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, value in weights.items():
        layers.setdefault(_layer_of(name), {})[name] = value
    return layers


def _layer_of(name: str) -> str:
    return name.partition(".")[0]


def _shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in weights.items()}
