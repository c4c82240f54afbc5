"""Initial weights of a training: drawn from the recipe's seed, or those of the checkpoint that it fine-tunes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.lowrank import factorise_weights
from tencrop.model.net import AlexNet
from tencrop.training.recipe import Recipe


def read_or_draw_weights(recipe: Recipe, prepared: PreparedStore) -> Mapping[str, np.ndarray]:
    """Parameters of the whole net by name. Raises BadInput where the start checkpoint has another net or classes."""
    net = recipe.net
    if recipe.start:
        start = Checkpoint.load(Path(recipe.start))
        if replace(start.contract, decode=prepared.contract.decode) != prepared.contract:
            raise BadInput(f"{recipe.start}: trained on other classes than {prepared.root} has")
        try:
            return AlexNet.from_weights(net, factorise_weights(start.weights, net)).weights()
        except RuntimeError:  # names or shapes that do not fit
            raise BadInput(f"{recipe.start}: not a checkpoint of the net that recipe {recipe.name} describes") from None
    if net.fc6.rank or net.fc7.rank:  # fc8's two matrices were drawn in 2012: net 146 on 21,843 classes
        raise BadInput(
            f"recipe {recipe.name}: low-rank layers are fine-tuned from a trained net", "add --set start=CHECKPOINT"
        )
    alexnet = AlexNet(net)
    alexnet.init(recipe.seed)
    return alexnet.weights()
