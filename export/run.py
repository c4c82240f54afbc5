"""checkpoint folder -> OUT: net.onnx, tencrop.onnx, parity.json, and the checkpoint itself where it was made smaller."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch

from tencrop.common.atomic import atomic_folder
from tencrop.common.errors import BadInput
from tencrop.export.compress import cast_to_fp16, cast_to_fp32, factorise_fc
from tencrop.export.images import load_photographs, make_formula_images
from tencrop.export.int8 import quantize_to_int8
from tencrop.export.net_graph import build_net_graph
from tencrop.export.parity import BATCHES
from tencrop.export.tencrop_graph import build_tencrop_graph, write_files
from tencrop.export.verify import INT8, verify
from tencrop.images.decode import decode
from tencrop.model.checkpoint import Checkpoint, hash_weights
from tencrop.model.filter_picture import draw_filters
from tencrop.model.probe import Probe
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.model.tencropfile import OUTPUTS, Metadata
from tencrop.runtime.engine import open_engine
from tencrop.runtime.engine_choice import EngineChoice

WEIGHT_FORMATS = ("fp32", "fp16", "int8")
COMPARED_IMAGES = max(BATCHES)  # photographs that the gate compares on
COMPARE_EVERY = 14  # of so many photographs one is compared on; the others calibrate int8
INT8_IMAGES = COMPARED_IMAGES * COMPARE_EVERY  # photographs that int8 takes: 5 to compare, 65 to calibrate
MIN_INT8_IMAGES = 20  # photographs to calibrate int8 on and to judge it by
INT8_PROBE_SLACK = 0.03  # of an int8 file's probe: two engines' answers to 21 images came 0.0135 apart in fp32


class ExportedGraphs(NamedTuple):
    """What goes into OUT, past the gate."""

    net: onnx.ModelProto
    tencrop: onnx.ModelProto
    parity: dict[str, Any]
    probe: Probe


def export(
    source: Path, out: Path, weights: str, fc_rank: int, images: Path | None, plain: bool = False
) -> dict[str, Any]:
    """Write the files, each whole or not at all, once the parity gate has passed; returns the parity.

    plain: every view by itself, even where they could share their first layers (export/shared_layers.py).

    Raises BadInput for a bad checkpoint or option, WorkFailed where the gate refuses.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file; name a folder for the export")
    if weights not in WEIGHT_FORMATS:
        raise BadInput(f"--weights {weights}: expected {', '.join(WEIGHT_FORMATS)}")
    if weights == "int8" and images is None:
        raise BadInput(
            f"--weights int8: is calibrated on photographs; name a folder of {INT8_IMAGES} or more with --images"
        )
    if (out / "checkpoint").resolve() == source.resolve():
        raise BadInput(
            f"{out}: an export into it would replace the checkpoint that it is made from; name another folder"
        )
    checkpoint = original = Checkpoint.load(source)
    checkpoint.check(source)
    checkpoint = factorise_fc(checkpoint, fc_rank) if fc_rank else checkpoint
    checkpoint = cast_to_fp16(checkpoint) if weights == "fp16" else checkpoint
    wanted = INT8_IMAGES if weights == "int8" else COMPARED_IMAGES
    photos = (
        load_photographs(images, checkpoint.contract, wanted)
        if images
        else make_formula_images(checkpoint.contract, wanted)
    )
    if weights == "int8" and len(photos) < MIN_INT8_IMAGES:
        raise BadInput(
            f"--images {images}: {len(photos)} images there; int8 takes {MIN_INT8_IMAGES} at least, better {INT8_IMAGES}"
        )
    made = _build_exact(checkpoint, photos[::COMPARE_EVERY] if weights == "int8" else photos, plain)
    made = _build_int8(checkpoint, photos, plain, made.parity) if weights == "int8" else made
    with atomic_folder(out) as folder:
        if checkpoint is not original:
            source = folder / "checkpoint"
            Checkpoint(checkpoint.recipe, checkpoint.contract, checkpoint.statistics, checkpoint.weights).save(source)
        metadata = Metadata(
            contract=checkpoint.contract,
            recipe=checkpoint.recipe,
            parity=made.parity,
            checkpoint_sha256=hash_weights(source),
            filter_picture=draw_filters(checkpoint.weights["conv1.weight"]),
            probe=made.probe,
        )
        write_files(folder, made.net, made.tencrop, metadata)
    return made.parity


def _build_exact(checkpoint: Checkpoint, compared: np.ndarray, plain: bool) -> ExportedGraphs:
    net = build_net_graph(checkpoint)
    tencrop = build_tencrop_graph(net, checkpoint.contract, checkpoint.mean, plain)
    parity = verify(checkpoint, net, tencrop, compared)
    reference = TenCropNet.from_checkpoint(checkpoint)

    @torch.inference_mode()
    def predict(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(reference(torch.from_numpy(pixels.copy()))[0][0].numpy())

    return ExportedGraphs(net, tencrop, parity, _make_probe(checkpoint, predict))


def _build_int8(checkpoint: Checkpoint, photos: np.ndarray, plain: bool, exact: Mapping[str, Any]) -> ExportedGraphs:
    """The same in int8, judged by how far it is from torch; its exact form has passed the gate, with `exact` for parity."""
    rest = np.delete(photos, np.s_[::COMPARE_EVERY], axis=0)
    reference, views = TenCropNet.from_checkpoint(checkpoint), checkpoint.contract.views
    crops = (reference.inputs(torch.from_numpy(image[None]), views)[0].numpy() for image in rest)
    net = quantize_to_int8(build_net_graph(cast_to_fp32(checkpoint)), crops)
    tencrop = build_tencrop_graph(net, checkpoint.contract, checkpoint.mean, plain)
    parity = verify(checkpoint, net, tencrop, photos[::COMPARE_EVERY], INT8) | {
        "calibrated_on": len(rest),
        "before_int8": exact["compared"],
    }
    engine = open_engine(tencrop.SerializeToString(), EngineChoice("onnxruntime", "cpu", "fp32"))
    return ExportedGraphs(
        net,
        tencrop,
        parity,
        _make_probe(checkpoint, lambda pixels: engine.run(pixels)[OUTPUTS[0]][0], INT8_PROBE_SLACK),
    )


def _make_probe(checkpoint: Checkpoint, predict: Callable[[np.ndarray], np.ndarray], slack: float = 0.0) -> Probe:
    """predict: uint8 [1,R,R,3] -> [C]."""
    return Probe.choose(lambda png: predict(decode(png, checkpoint.contract)[0][None]), slack)
