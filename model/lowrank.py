"""Low-rank fully connected layers: a matrix as the product of two, by its singular values."""

from collections.abc import Mapping

import numpy as np

from model.config import NetConfig, rows


def factorised(weights: Mapping[str, np.ndarray], net: NetConfig) -> dict[str, np.ndarray]:
    """The weights in the form that `net` asks for: a full matrix becomes `up` [units,rank] @ `down` [rank,inputs].

    The best approximation of that rank (Eckart-Young); each factor takes the square root of the singular values, so
    that both have one scale and fine-tuning moves them alike. Weights already in the right form are passed on.
    """
    result = dict(weights)
    for row in rows(net):
        if row.op == "fc" and row.spec.rank and f"{row.name}.weight" in result:
            full = result.pop(f"{row.name}.weight").astype(np.float32)
            left, singular, right = np.linalg.svd(full, full_matrices=False)
            root = np.sqrt(singular[: row.spec.rank])
            result[f"{row.name}.up.weight"] = left[:, : row.spec.rank] * root
            result[f"{row.name}.down.weight"] = root[:, None] * right[: row.spec.rank]
            result[f"{row.name}.up.bias"] = result.pop(f"{row.name}.bias")
    return result
