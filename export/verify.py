"""The parity gate: torch against every engine of this machine, on logits and on the ten-crop probabilities."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import torch

from tencrop.common.errors import WorkFailed
from tencrop.export.parity import BATCHES, ENGINES, EXACT, Limits, check, row
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.net_config import layer_table
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.runtime.engine import open_engine

INT8 = Limits(0.1, 0.25)  # of files whose exact form has passed: it is the rounding alone that is judged
FORBIDDEN = ("Dropout", "Shape", "Size", "NonZero")


def verify(
    checkpoint: Checkpoint, net: onnx.ModelProto, tencrop: onnx.ModelProto, images: np.ndarray, limits: Limits = EXACT
) -> dict[str, Any]:
    """Compare both files with torch on uint8 images [n,R,R,3], n >= 1; returns what parity.json holds.

    Raises WorkFailed with the first thing that does not fit.
    """
    check_structure(checkpoint, net)
    reference = TenCropNet.from_checkpoint(checkpoint)
    compared = []
    for found in _compare(reference, net.SerializeToString(), tencrop.SerializeToString(), images):
        compared.append(found)
        check(found, limits, "torch")
    return {
        "images": len(images),
        "limits": limits._asdict(),
        "lrn_nodes": Counter(node.op_type for node in net.graph.node)["LRN"],
        "largest_before_lrn": largest_before_lrn(reference, images),
        "compared": compared,
    }


def check_structure(checkpoint: Checkpoint, net: onnx.ModelProto) -> None:
    """One standard LRN node for each of the recipe's, and none of the nodes that a careless export leaves. Raises WorkFailed."""
    found = Counter(node.op_type for node in net.graph.node)
    wanted = sum(layer.op == "lrn" for layer in layer_table(checkpoint.net))
    if found["LRN"] != wanted:
        raise WorkFailed(f"parity: net.onnx has {found['LRN']} LRN nodes, its recipe {wanted}")
    for op in FORBIDDEN:
        if found[op]:
            raise WorkFailed(f"parity: net.onnx has a {op} node")


@torch.inference_mode()
def _compare(reference: TenCropNet, net: bytes, tencrop: bytes, images: np.ndarray) -> Iterator[dict[str, Any]]:
    images = np.resize(images, (max(BATCHES), *images.shape[1:]))  # repeats images where there are fewer
    crops = reference.inputs(torch.from_numpy(images), reference.contract.views)
    logits = reference.net(crops.flatten(0, 1)).view(*crops.shape[:2], -1)
    each = logits.softmax(-1).numpy()
    for choice in ENGINES:
        bare, whole = open_engine(net, choice), open_engine(tencrop, choice)
        for size in BATCHES:
            want = logits[:size].flatten(0, 1).numpy()
            got = bare.run(np.ascontiguousarray(crops[:size].flatten(0, 1).numpy()))["logits"]
            yield row(
                choice.engine,
                float(np.abs(got - want).max() / np.abs(want).max()),
                whole.run(images[:size]),
                each[:size],
            )


@torch.inference_mode()
def largest_before_lrn(reference: TenCropNet, images: np.ndarray) -> dict[str, float]:
    """The largest activation that goes into each LRN: onnxruntime's kernel loses digits above 1e4."""
    x = reference.inputs(torch.from_numpy(images), reference.contract.views).flatten(0, 1)
    largest = {}
    for name, module in reference.net.named_children():
        if name.startswith("lrn"):
            largest[name] = float(x.abs().max())
        x = module(x)
    return largest
