"""Exports a checkpoint folder to OUT: net.onnx, tencrop.onnx, parity.json, and a smaller checkpoint where asked for."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from tencrop.common.atomic import atomic_folder
from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.export.compress import cast_to_fp16, cast_to_fp32, factorise_fc
from tencrop.export.hub_folder import check_card, write_hub_folder
from tencrop.export.int8 import quantize_to_int8
from tencrop.export.net_graph import build_net_graph
from tencrop.export.parity_gate import BATCHES, INT8_LIMITS, Parity, check_parity
from tencrop.export.sample_images import load_photographs, make_formula_images
from tencrop.export.tencrop_graph import build_tencrop_graph, write_files
from tencrop.export.torch_reference import TorchReference
from tencrop.images.decode import decode
from tencrop.model.checkpoint import Checkpoint, hash_weights
from tencrop.model.contract import DECODING, Contract
from tencrop.model.filter_picture import draw_filters
from tencrop.model.probe import Probe
from tencrop.model.run_checkpoints import find_checkpoint
from tencrop.model.tencropfile import OUTPUTS, Metadata
from tencrop.runtime.engine import open_engine
from tencrop.runtime.engine_choice import EngineChoice

WEIGHT_FORMATS = ("fp32", "fp16", "int8")
COMPARED_IMAGES = max(BATCHES)  # images that the parity gate compares on
COMPARE_EVERY = 14  # for int8: one photograph of so many is compared on, the others calibrate
INT8_IMAGES = COMPARED_IMAGES * COMPARE_EVERY  # photographs that int8 takes: 5 to compare, 65 to calibrate
MIN_INT8_IMAGES = 20  # photographs that int8 needs: 2 to compare, 18 to calibrate
INT8_PROBE_SLACK = 0.03  # added to the probe's tolerance: two engines differed by 0.0135 on 21 images in fp32

Build = Callable[[onnx.ModelProto], onnx.ModelProto]  # net.onnx -> tencrop.onnx

log = logging.getLogger(__name__)


class ExportedGraphs(NamedTuple):
    """Both graphs, with the parity that the gate measured and the probe for tencrop.onnx."""

    net: onnx.ModelProto
    tencrop: onnx.ModelProto
    parity: Parity
    probe: Probe


def export(
    source: Path,
    out: Path,
    weights: str,
    fc_rank: int,
    images: Path | None,
    plain: bool = False,
    hub: bool = False,
    features: Sequence[str] = (),
) -> Parity:
    """Write the files, all or none, once the parity gate has passed.

    source: a checkpoint folder, or a run folder, whose newest whole checkpoint is taken.
    plain: compute each view by itself, even where the views could share their first layers (export/shared_layers.py).
    hub: add what the Hugging Face hub expects (export/hub_folder.py).
    features: layers whose values become outputs of tencrop.onnx (model/feature_output.py).

    Raises BadInput for a bad checkpoint or option, WorkFailed where the gate refuses.
    """
    source = find_checkpoint(source)
    _check_options(source, out, weights)
    if hub:
        check_card(out)
    original = Checkpoint.load(source)
    checkpoint = factorise_fc(original, fc_rank) if fc_rank else original
    checkpoint = cast_to_fp16(checkpoint) if weights == "fp16" else checkpoint
    stored = checkpoint if weights == "fp16" else cast_to_fp32(checkpoint)  # as the graphs hold the weights
    build = partial(build_tencrop_graph, contract=stored.contract, mean=stored.mean, plain=plain, features=features)
    if weights == "int8":
        graphs = _export_int8(stored, _load_int8_photographs(images, stored.contract), build)
    elif images:
        graphs = _export_exact(stored, load_photographs(images, stored.contract, COMPARED_IMAGES), build)
    else:
        graphs = _export_exact(stored, make_formula_images(stored.contract, COMPARED_IMAGES), build)
    log.info("writing %s", out)
    with atomic_folder(out) as folder:
        if checkpoint is not original:
            source = folder / "checkpoint"
            Checkpoint(checkpoint.recipe, checkpoint.contract, checkpoint.statistics, checkpoint.weights).save(source)
        metadata = Metadata(
            contract=replace(checkpoint.contract, decode=DECODING),
            recipe=checkpoint.recipe,
            parity=graphs.parity.to_json(),
            checkpoint_sha256=hash_weights(source),
            filter_picture=draw_filters(checkpoint.weights["conv1.weight"]),
            probe=graphs.probe,
            features=tuple(features),
        )
        write_files(folder, graphs.net, graphs.tencrop, metadata)
        if hub:
            write_hub_folder(folder, out, graphs.net, checkpoint.mean, source, original.run_progress)
    return graphs.parity


def _check_options(source: Path, out: Path, weights: str) -> None:
    """Check the folder and the format of the export. Raises BadInput where they cannot be used."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file", "name a folder for the export")
    if weights not in WEIGHT_FORMATS:
        advice = did_you_mean(weights, WEIGHT_FORMATS)
        raise BadInput(f"--weights {weights}: expected {', '.join(WEIGHT_FORMATS)}", advice)
    if (out / "checkpoint").resolve() == source.resolve():
        raise BadInput(
            f"{out}: an export into this folder would replace the checkpoint that it is made from",
            "name another folder",
        )


def _load_int8_photographs(folder: Path | None, contract: Contract) -> np.ndarray:
    """Load the photographs that calibrate and check int8. Raises BadInput without a folder, or for too few of them."""
    if folder is None:
        raise BadInput(
            "--weights int8: int8 is calibrated on photographs",
            f"name a folder of {INT8_IMAGES} or more with --images",
        )
    photographs = load_photographs(folder, contract, INT8_IMAGES)
    if len(photographs) < MIN_INT8_IMAGES:
        raise BadInput(
            f"--images {folder}: {len(photographs)} images there, but int8 needs {MIN_INT8_IMAGES} at least",
            f"give {INT8_IMAGES}",
        )
    return photographs


def _export_exact(checkpoint: Checkpoint, images: np.ndarray, build: Build) -> ExportedGraphs:
    """The graphs with the checkpoint's own weights, fp32 or fp16."""
    log.info("torch answers %d images", len(images))
    reference = TorchReference(checkpoint)
    expected = reference.expect(images)
    log.info("building net.onnx and tencrop.onnx")
    net = build_net_graph(checkpoint)
    tencrop = build(net)
    parity = check_parity(net, tencrop, expected)
    return ExportedGraphs(net, tencrop, parity, _choose_probe(reference.predict, checkpoint.contract))


def _export_int8(checkpoint: Checkpoint, photographs: np.ndarray, build: Build) -> ExportedGraphs:
    """The graphs in int8, of fp32 weights. The gate judges the exact graphs first, and so only the rounding after."""
    log.info("torch answers %d photographs", len(photographs[::COMPARE_EVERY]))
    reference = TorchReference(checkpoint)
    expected = reference.expect(photographs[::COMPARE_EVERY])
    log.info("building the exact graphs")
    exact_net = build_net_graph(checkpoint)
    exact_tencrop = build(exact_net)
    exact_parity = check_parity(exact_net, exact_tencrop, expected)
    calibration = np.delete(photographs, np.s_[::COMPARE_EVERY], axis=0)
    log.info("calibrating int8 on %d photographs", len(calibration))
    net = quantize_to_int8(exact_net, reference.crop_each(calibration))
    tencrop = build(net)
    parity = check_parity(net, tencrop, expected, INT8_LIMITS)
    parity = replace(parity, calibrated_on=len(calibration), before_int8=exact_parity.compared)
    engine = open_engine(tencrop.SerializeToString(), EngineChoice("onnxruntime", "cpu", "fp32"))
    probe = _choose_probe(lambda images: engine.run(images)[OUTPUTS[0]], checkpoint.contract, INT8_PROBE_SLACK)
    return ExportedGraphs(net, tencrop, parity, probe)


def _choose_probe(predict: Callable[[np.ndarray], np.ndarray], contract: Contract, slack: float = 0.0) -> Probe:
    """predict: uint8 [1,R,R,3] -> probabilities [1,C]."""
    log.info("choosing the probe")
    return Probe.choose(lambda png: predict(decode(png, contract)[0][None])[0], slack)
