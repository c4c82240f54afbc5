"""importers/onnxzoo_alexnet.py: the graph of bvlcalexnet, which comes without weights, equals a torch net."""

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional as F

from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.onnxzoo_alexnet import BVLC_INPUT, is_bvlc_alexnet
from tencrop.export.importers.pixels import resolve_pixels
from tencrop.export.importers.reference import SourceReference
from tencrop.export.importers.run import import_net
from tencrop.export.importers.source_input import read_source_input
from tencrop.export.importers.source_net import SourceNet
from tencrop.export.importers.source_to_net import convert_to_net
from tencrop.export.sample_images import make_formula_images
from tencrop.images.decode import decode
from tencrop.model.contract import Contract
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine import open_engine
from tencrop.runtime.engine_choice import EngineChoice, EngineOptions

MEAN_BGR = (103.939, 116.779, 123.68)
SPREAD = 60.0  # standard deviation of pixels minus their mean
LAST = 0.02  # keeps logits of random weights small, so that probabilities are not all 0 or 1
Edit = Callable[[onnx.ModelProto], object]


def fill_weights(width: int) -> onnx.ModelProto:
    """The graph with seeded weights of He et al.'s variance; fc6 and fc7 have `width` units."""
    model = onnx.load_model_from_string(
        files("onnx").joinpath("backend/test/data/light/light_bvlc_alexnet.onnx").read_bytes()
    )
    random = np.random.default_rng(2012)
    shapes = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = [min(side, width) if side == 4096 else side for side in shapes[node.input[0]].tolist()]
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 1.0
        spread *= LAST if node.output[0].startswith("fc8") else 1
        values = random.standard_normal(shape, np.float32) * np.float32(spread)
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        model.graph.input.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, shape))
        model.graph.node.remove(node)
    return model


@pytest.fixture(scope="module")
def bvlc() -> onnx.ModelProto:
    """A thin net."""
    return fill_weights(64)


@torch.inference_mode()
def compute_torch_logits(model: onnx.ModelProto, rgb: np.ndarray) -> np.ndarray:
    """The net of Caffe's deploy.prototxt in torch, on mean-subtracted float [N,3,224,224] RGB."""
    stored = {value.name: torch.from_numpy(numpy_helper.to_array(value).copy()) for value in model.graph.initializer}

    def get_parameters(layer: str) -> tuple[Tensor, Tensor]:
        return stored[f"{layer}_w_0"], stored[f"{layer}_b_0"]

    def norm_pool(x: Tensor) -> Tensor:
        return F.max_pool2d(F.local_response_norm(F.relu(x), 5, 1e-4, 0.75, 1.0), 3, 2)

    x = norm_pool(F.conv2d(torch.from_numpy(rgb)[:, [2, 1, 0]], *get_parameters("conv1"), stride=4))
    x = norm_pool(F.conv2d(x, *get_parameters("conv2"), padding=2, groups=2))
    x = F.relu(F.conv2d(x, *get_parameters("conv3"), padding=1))
    x = F.relu(F.conv2d(x, *get_parameters("conv4"), padding=1, groups=2))
    x = F.relu(F.conv2d(x, *get_parameters("conv5"), padding=1, groups=2))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True).flatten(1)
    x = F.relu(F.linear(x, *get_parameters("fc6")))
    x = F.relu(F.linear(x, *get_parameters("fc7")))
    return F.linear(x, *get_parameters("fc8")).numpy()


def compute_net_logits(model: onnx.ModelProto, rgb: np.ndarray, options: InputConvention = BVLC_INPUT) -> np.ndarray:
    """The importer's net.onnx on onnxruntime."""
    source = SourceNet(Path("bvlc.onnx"), "ONNX", model, options)
    shape = read_source_input(source, options)
    pixels, _ = resolve_pixels(options, shape.layout, shape.crop)
    reference = SourceReference.open(source, shape, pixels, Contract())
    net = convert_to_net(reference, reference.answer(make_formula_images(Contract(), 1)), "probabilities").model
    return open_engine(net.SerializeToString(), EngineChoice("onnxruntime", "cpu", "fp32")).run(rgb)["logits"]


def measure_difference(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.random.default_rng(1).normal(0, SPREAD, (3, 3, 224, 224)).astype(np.float32)


@pytest.fixture(scope="module")
def want(bvlc: onnx.ModelProto, crops: np.ndarray) -> np.ndarray:
    return compute_torch_logits(bvlc, crops)


@pytest.mark.slow
@pytest.mark.parametrize("width", [64, 4096])
def test_imported_net_is_the_torch_net(width: int, crops: np.ndarray) -> None:
    model = fill_weights(width)
    assert is_bvlc_alexnet(model)
    assert measure_difference(compute_net_logits(model, crops), compute_torch_logits(model, crops)) < 1e-5


def change_norms(**changes: float) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for attribute in node.attribute if node.op_type == "LRN" else ():
                if attribute.name in changes:
                    attribute.f = changes[attribute.name]

    return edit


def remove_norms(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "LRN":
            node.op_type = "Identity"
            del node.attribute[:]


def swap_pool_and_norm(model: onnx.ModelProto) -> None:
    for norm in [node for node in model.graph.node if node.op_type == "LRN"]:
        pool = next(node for node in model.graph.node if norm.output[0] in node.input)
        own = [(node.op_type, list(node.attribute)) for node in (norm, pool)]
        for node, (op, attributes) in zip((norm, pool), reversed(own), strict=True):
            copied = [type(a).FromString(a.SerializeToString()) for a in attributes]
            node.op_type = op
            del node.attribute[:]
            node.attribute.extend(copied)


def pad_last_pool_before(model: onnx.ModelProto) -> None:
    pool = [node for node in model.graph.node if node.op_type == "MaxPool"][-1]
    next(attribute for attribute in pool.attribute if attribute.name == "pads").ints[:] = [1, 1, 0, 0]


MUTANTS: dict[str, tuple[Edit, InputConvention]] = {
    "no LRN": (remove_norms, BVLC_INPUT),
    "k = 2": (change_norms(bias=2.0), BVLC_INPUT),
    "alpha / 5": (change_norms(alpha=2e-5), BVLC_INPUT),
    "beta = 0.5": (change_norms(beta=0.5), BVLC_INPUT),
    "pool before norm": (swap_pool_and_norm, BVLC_INPUT),
    "zeros padded before": (pad_last_pool_before, BVLC_INPUT),
    "BGR for RGB": (lambda model: None, replace(BVLC_INPUT, channels="rgb")),
    "pixels / 2": (lambda model: None, replace(BVLC_INPUT, scale=0.5)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_not_the_torch_net(mutant: str, bvlc: onnx.ModelProto, crops: np.ndarray, want: np.ndarray) -> None:
    edit, options = MUTANTS[mutant]
    copy = onnx.ModelProto()
    copy.CopyFrom(bvlc)
    edit(copy)
    assert measure_difference(compute_net_logits(copy, crops[:1], options), want[:1]) > 1e-3


@pytest.mark.slow
def test_imported_file_sees_photographs_as_caffe_did(
    bvlc: onnx.ModelProto, tmp_path: Path, photographs: dict[str, Path]
) -> None:
    onnx.save(bvlc, tmp_path / "bvlcalexnet-9.onnx")
    made = import_net(tmp_path / "bvlcalexnet-9.onnx", tmp_path / "out", InputConvention(), None)
    assert made.recipe["about"] == "imported: ONNX Model Zoo's bvlcalexnet" and made.parity["lrn_nodes"] == 2
    assert made.recipe["assumed"] == [
        "classes numbered from 0, in the order of the outputs (--labels)",
        "outputs that are probabilities, going by their sums (--output)",
    ]
    contract = Contract()
    images = np.stack([decode(path.read_bytes(), contract)[0] for path in photographs.values()])
    centers = images[:, 16:240, 16:240].transpose(0, 3, 1, 2).astype(np.float32)
    logits = compute_torch_logits(bvlc, centers - np.array(MEAN_BGR[::-1], np.float32)[:, None, None])
    classifier = open_classifier(tmp_path / "out", EngineOptions("cpu", "onnxruntime", "fp32"))
    _, each = classifier.forward(images)
    np.testing.assert_allclose(each[:, 2], torch.from_numpy(logits).softmax(-1).numpy(), rtol=0, atol=1e-5)
    wrong = compute_torch_logits(bvlc, centers - np.array(MEAN_BGR, np.float32)[:, None, None])
    assert np.abs(each[:, 2] - torch.from_numpy(wrong).softmax(-1).numpy()).max() > 1e-4
