"""Makes a checkpoint smaller with low-rank fully connected layers and fp16 weights.

The result is an ordinary checkpoint, so the parity gate compares with the rounded weights themselves.
"""

from dataclasses import replace

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.lowrank import factorise_weights

FP16_MAX = float(np.finfo(np.float16).max)


def factorise_fc(checkpoint: Checkpoint, rank: int) -> Checkpoint:
    """Factorise fc6 and fc7 to `rank`. Raises BadInput where a layer is factorised already or the rank is too large."""
    net = checkpoint.net
    for layer in ("fc6", "fc7"):
        fc = getattr(net, layer)
        if fc.rank:
            raise BadInput(f"--fc-rank {rank}: {layer} of this checkpoint has rank {fc.rank} already")
        if not 0 < rank < fc.units:
            raise BadInput(f"--fc-rank {rank}: must be between 1 and {fc.units - 1}")
        net = replace(net, **{layer: replace(fc, rank=rank)})
    recipe = {**checkpoint.recipe, "net": dump(net), "expect": []}  # the 2012 errors are those of the full net
    return replace(checkpoint, recipe=recipe, weights=factorise_weights(checkpoint.weights, net))


def cast_to_fp16(checkpoint: Checkpoint) -> Checkpoint:
    """Round weight matrices and kernels to fp16; biases stay fp32. Returns a rounded checkpoint as it is.

    Raises BadInput for a weight beyond fp16's range.
    """
    rounded = {}
    for name, value in checkpoint.weights.items():
        if name.endswith("weight") and value.dtype != np.float16:
            if np.abs(value).max() > FP16_MAX:
                raise BadInput(f"--weights fp16: {name} exceeds fp16's range", "use fp32")
            rounded[name] = value.astype(np.float16)
    return replace(checkpoint, weights={**checkpoint.weights, **rounded}) if rounded else checkpoint


def cast_to_fp32(checkpoint: Checkpoint) -> Checkpoint:
    """Cast all weights to fp32; those in fp32 are not copied."""
    weights = {name: value.astype(np.float32, copy=False) for name, value in checkpoint.weights.items()}
    return replace(checkpoint, weights=weights)
