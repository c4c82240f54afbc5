"""The parity gate: torch against every engine of this machine, on logits and on the ten-crop probabilities."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch

from export.parity import BATCHES, ENGINES
from model.checkpoint import Checkpoint
from model.config import rows
from model.engine import open_engine
from model.errors import WorkFailed
from model.net import AlexNet
from model.tencropfile import OUTPUTS
from model.views import TenCropNet


class Limits(NamedTuple):
    """Largest differences: of a logit over the largest logit, of a view's probability as it is."""

    logits_relative: float
    probabilities: float


EXACT = Limits(1e-4, 1e-4)
INT8 = Limits(0.1, 0.25)  # of files whose exact form has passed: it is the rounding alone that is judged
FORBIDDEN = ("Dropout", "Shape", "Size", "NonZero")


def verify(
    checkpoint: Checkpoint, net: onnx.ModelProto, tencrop: onnx.ModelProto, images: np.ndarray, limits: Limits = EXACT
) -> dict[str, Any]:
    """Compare both files with torch on uint8 images [n,R,R,3], n >= 1; returns what parity.json holds.

    Raises WorkFailed with the first thing that does not fit.
    """
    check_structure(checkpoint, net)
    torch_net = AlexNet.of(checkpoint.net, checkpoint.weights)
    reference = TenCropNet(torch_net, checkpoint.contract, checkpoint.mean)
    compared = []
    for row in _compare(reference, net.SerializeToString(), tencrop.SerializeToString(), images):
        compared.append(row)
        what = f"{row['engine']} at batch {row['batch']}"
        if not row["logits_relative"] <= limits.logits_relative:  # a NaN fails too
            raise WorkFailed(f"parity: {what}: net.onnx differs from torch by {row['logits_relative']:.1e} of the largest logit")
        if not row["probabilities"] <= limits.probabilities:
            raise WorkFailed(f"parity: {what}: tencrop.onnx differs from torch by {row['probabilities']:.1e} in a probability")
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
    wanted = sum(row.op == "lrn" for row in rows(checkpoint.net))
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
    each = logits.softmax(-1)
    for choice in ENGINES:
        bare, whole = open_engine(net, choice), open_engine(tencrop, choice)
        for size in BATCHES:
            want = logits[:size].flatten(0, 1).numpy()
            got_logits = bare.run(np.ascontiguousarray(crops[:size].flatten(0, 1).numpy()))["logits"]
            got = whole.run(images[:size])
            mean, views = (got[name] for name in OUTPUTS)
            want_mean, want_views = each[:size].mean(1).numpy(), each[:size].numpy()
            yield {
                "engine": choice.engine,
                "batch": size,
                "logits_relative": float(np.abs(got_logits - want).max() / np.abs(want).max()),
                "probabilities": float(max(np.abs(mean - want_mean).max(), np.abs(views - want_views).max())),
                "top1_agreement": float((mean.argmax(1) == want_mean.argmax(1)).mean()),
            }


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
