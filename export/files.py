"""checkpoint folder -> OUT: net.onnx, tencrop.onnx, parity.json, and the checkpoint itself where it was made smaller."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.onnx import net_onnx
from export.pipeline import tencrop_onnx, with_card
from export.precision import half, low_rank
from export.verify import parity_images, verify
from model.checkpoint import Checkpoint, weights_sha256
from model.errors import BadInput
from model.kernels import kernels_png
from model.net import AlexNet
from model.preprocess import decode
from model.probe import Probe
from model.tencropfile import Card
from model.views import TenCropNet
from model.whole import write_all


def export(source: Path, out: Path, weights: str, fc_rank: int, images: Path | None, plain: bool = False) -> dict[str, Any]:
    """Write the files, each whole or not at all, once the parity gate has passed; returns the parity.

    plain: every view by itself, even where they could share their first layers (export/stem.py).

    Raises BadInput for a bad checkpoint or option, WorkFailed where the gate refuses.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file; name a folder for the export")
    checkpoint = original = Checkpoint.load(source)
    checkpoint = low_rank(checkpoint, fc_rank) if fc_rank else checkpoint
    checkpoint = half(checkpoint) if weights == "fp16" else checkpoint
    net = net_onnx(checkpoint)
    tencrop = tencrop_onnx(net, checkpoint.contract, checkpoint.mean, plain)
    parity = verify(checkpoint, net, tencrop, parity_images(images, checkpoint.contract))
    if checkpoint is not original:
        source = out / "checkpoint"
        Checkpoint(checkpoint.recipe, checkpoint.contract, checkpoint.statistics, checkpoint.weights).save(source)
    card = Card(
        contract=checkpoint.contract,
        recipe=checkpoint.recipe,
        parity=parity,
        checkpoint_sha256=weights_sha256(source),
        kernels=kernels_png(checkpoint.weights["conv1.weight"]),
        probe=_probe(checkpoint),
    )
    models = {"net.onnx": net, "tencrop.onnx": with_card(tencrop, card)}
    texts = {"parity.json": (json.dumps(parity, indent=1) + "\n").encode()}
    write_all(out, {name: model.SerializeToString() for name, model in models.items()} | texts)
    return parity


def _probe(checkpoint: Checkpoint) -> Probe:
    reference = TenCropNet(AlexNet.of(checkpoint.net, checkpoint.weights), checkpoint.contract, checkpoint.mean)

    @torch.inference_mode()
    def predict(png: bytes) -> np.ndarray:
        pixels, _ = decode(png, checkpoint.contract)
        return np.asarray(reference(torch.from_numpy(pixels.copy())[None])[0][0].numpy())

    return Probe.of(predict)
