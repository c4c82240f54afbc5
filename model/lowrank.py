"""Low-rank fully connected layers: a matrix as the product of two, by its singular values."""

from collections.abc import Mapping

import numpy as np
from scipy.linalg import eigh

from tencrop.common.errors import BadInput
from tencrop.model.net_config import NetConfig, rows

TINY = 1e-30  # keeps a matrix of lower rank from dividing by 0


def factorised(weights: Mapping[str, np.ndarray], net: NetConfig) -> dict[str, np.ndarray]:
    """The weights in the form that `net` asks for: a full matrix becomes `up` [units,rank] @ `down` [rank,inputs].

    The best approximation of that rank (Eckart-Young); each factor takes the square root of the singular values, so
    that both have one scale and fine-tuning moves them alike. Weights already in the right form are passed on.
    """
    result = dict(weights)
    for row in rows(net):
        if row.op == "fc" and row.spec.rank and f"{row.name}.weight" in result:
            most = min(result[f"{row.name}.weight"].shape)
            if row.spec.rank > most:
                raise BadInput(f"net.{row.name}.rank is {row.spec.rank}; its matrix has at most {most}")
            full = result.pop(f"{row.name}.weight").astype(np.float64)
            squares, left = eigh(full @ full.T, subset_by_index=[len(full) - row.spec.rank, len(full) - 1])
            root = np.maximum(squares, TINY) ** 0.25  # of the singular values; far cheaper than a full SVD
            result[f"{row.name}.up.weight"] = (left * root).astype(np.float32)
            result[f"{row.name}.down.weight"] = ((left / root).T @ full).astype(np.float32)
            result[f"{row.name}.up.bias"] = result.pop(f"{row.name}.bias")
    return result
