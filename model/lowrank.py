"""Low-rank fully connected layers: a matrix becomes the product of two smaller ones, by its singular values."""

from collections.abc import Mapping

import numpy as np
from scipy.linalg import eigh

from tencrop.common.errors import BadInput
from tencrop.model.layer_table import layer_table
from tencrop.model.net_config import NetConfig

TINY = 1e-30  # keeps a matrix of lower rank from dividing by 0


def factorise_weights(weights: Mapping[str, np.ndarray], net: NetConfig) -> dict[str, np.ndarray]:
    """Factorise the matrix of each layer that has a rank in `net` into `up` [units,rank] @ `down` [rank,inputs].

    The product is the best approximation of that rank (Eckart-Young). Each factor takes the square root of the
    singular values: both then have one scale, and fine-tuning moves them alike. Factorised weights stay as they are.
    Raises BadInput where a rank is larger than its matrix.
    """
    result = dict(weights)
    for layer in layer_table(net):
        if layer.op == "fc" and layer.spec.rank and f"{layer.name}.weight" in result:
            most = min(result[f"{layer.name}.weight"].shape)
            if layer.spec.rank > most:
                raise BadInput(f"net.{layer.name}.rank is {layer.spec.rank}, and its matrix has at most {most}")
            full = result.pop(f"{layer.name}.weight").astype(np.float64)
            squares, left = eigh(full @ full.T, subset_by_index=[len(full) - layer.spec.rank, len(full) - 1])
            root = np.maximum(squares, TINY) ** 0.25  # of the singular values; far cheaper than a full SVD
            result[f"{layer.name}.up.weight"] = (left * root).astype(np.float32)
            result[f"{layer.name}.down.weight"] = ((left / root).T @ full).astype(np.float32)
            result[f"{layer.name}.up.bias"] = result.pop(f"{layer.name}.bias")
    return result
