"""importers/caffe.py: an imported .caffemodel, in both of Caffe's formats, answers as a net in torch does."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.caffemodel import (
    ALPHA,
    CLASSES,
    SHAPES,
    encode_blob,
    encode_caffemodel,
    encode_field,
    encode_float,
    encode_integer,
    encode_layer,
    encode_varint,
    make_weights,
)
from torch import Tensor
from torch.nn import functional as F

from tencrop.common.errors import BadInput
from tencrop.export.importers.caffe import read_caffe
from tencrop.export.importers.caffe_pixels import MEAN
from tencrop.export.importers.input_convention import InputConvention, parse_input_convention
from tencrop.export.importers.pixels import resolve_pixels
from tencrop.export.importers.run import import_net
from tencrop.images.decode import decode
from tencrop.model.contract import Contract
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions


@torch.inference_mode()
def compute_probabilities(seen: np.ndarray, alpha: float = ALPHA, k: float = 1.0) -> np.ndarray:
    """The net in torch, on mean-subtracted float [N,3,227,227] BGR. Caffe and torch divide alpha by the window size."""
    w = {name: (torch.from_numpy(weight), torch.from_numpy(bias)) for name, (weight, bias) in make_weights().items()}

    def norm_pool(x: Tensor) -> Tensor:
        return F.max_pool2d(F.local_response_norm(F.relu(x), 5, alpha, 0.75, k), 3, 2, ceil_mode=True)

    x = norm_pool(F.conv2d(torch.from_numpy(seen.copy()), *w["conv1"], stride=4))
    x = norm_pool(F.conv2d(x, *w["conv2"], padding=2, groups=2)).flatten(1)
    return F.linear(F.relu(F.linear(x, *w["fc6"])), *w["fc8"]).softmax(-1).numpy()


def cut_ten(image: np.ndarray, mean: np.ndarray, crop: int) -> np.ndarray:
    """Caffe's crops of uint8 [256,256,3]: BGR, minus a mean image [3,256,256], mirrored after the subtraction."""
    centered = image[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) - mean
    far = 256 - crop
    corners = ((0, 0), (0, far), (far // 2, far // 2), (far, 0), (far, far))
    crops = [centered[:, top : top + crop, left : left + crop] for top, left in corners]
    return np.stack([*crops, *(view[:, :, ::-1] for view in crops)])


@pytest.fixture(scope="module")
def mean() -> np.ndarray:
    return np.random.default_rng(3).uniform(80, 140, (3, 256, 256)).astype(np.float32)


@pytest.fixture(scope="module")
def images(photographs: dict[str, Path]) -> np.ndarray:
    return np.stack([decode(path.read_bytes(), Contract())[0] for path in photographs.values()])


@pytest.mark.slow
@pytest.mark.parametrize(("old", "crop"), [(True, 227), (False, 227), (False, 226)], ids=["V1", "new", "rounded up"])
def test_imported_net_answers_as_the_torch_net(
    old: bool, crop: int, tmp_path: Path, mean: np.ndarray, images: np.ndarray
) -> None:
    (tmp_path / "alexnet.caffemodel").write_bytes(encode_caffemodel(old, crop))
    (tmp_path / "mean.binaryproto").write_bytes(encode_blob(mean, old=True))
    made = import_net(
        tmp_path / "alexnet.caffemodel",
        tmp_path / "out",
        parse_input_convention(str(tmp_path / "mean.binaryproto"), None),
        None,
    )
    assert (made.contract.resize, made.contract.crop, made.parity["lrn_nodes"]) == (256, crop, 2)
    classifier = open_classifier(tmp_path / "out", EngineOptions("cpu", "openvino", "fp32"))
    mean_probabilities, each = classifier.forward(images)
    for image, views, average in zip(images, each, mean_probabilities, strict=True):
        want = compute_probabilities(cut_ten(image, mean, crop))
        np.testing.assert_allclose(views, want, rtol=0, atol=1e-5)
        np.testing.assert_allclose(average, want.mean(0), rtol=0, atol=1e-5)
    assert b"someone" not in (tmp_path / "out/tencrop.onnx").read_bytes()


@pytest.mark.parametrize("old", [True, False], ids=["V1", "new"])
def test_loss_without_an_output_is_skipped(old: bool, tmp_path: Path) -> None:
    """BVLC's definition of AlexNet ends so. Caffe names the output of such a loss itself and writes no name."""
    (tmp_path / "a.caffemodel").write_bytes(
        encode_caffemodel(old, loss=encode_layer(old, "loss", "SoftmaxWithLoss", ["fc8", "label_0"], None))
    )
    (tmp_path / "b.caffemodel").write_bytes(encode_caffemodel(old))
    nets = [read_caffe(tmp_path / name, InputConvention()).model for name in ("a.caffemodel", "b.caffemodel")]
    assert nets[0] == nets[1] and nets[0].graph.output[0].name == "fc8/Gemm"


def test_wrong_readings_change_the_answers(mean: np.ndarray, images: np.ndarray) -> None:
    seen = cut_ten(images[0], mean, 227)
    right = compute_probabilities(seen)
    flat = mean.mean((1, 2), keepdims=True) * np.ones_like(mean)
    wrong = {
        "no norm": compute_probabilities(seen, alpha=0.0),
        "alpha not divided": compute_probabilities(seen, alpha=5 * ALPHA),
        "k = 2": compute_probabilities(seen, k=2.0),
        "RGB": compute_probabilities(seen[:, ::-1]),
        "one mean colour": compute_probabilities(cut_ten(images[0], flat, 227)),
    }
    assert all(np.abs(answer - right).max() > 1e-4 for answer in wrong.values()), wrong


@pytest.mark.slow
def test_without_a_mean_image_the_mean_colour_of_ilsvrc_is_subtracted(tmp_path: Path, images: np.ndarray) -> None:
    (tmp_path / "alexnet.caffemodel").write_bytes(encode_caffemodel(old=True))
    made = import_net(tmp_path / "alexnet.caffemodel", tmp_path / "out", InputConvention(), None)
    assert [line for line in made.recipe["assumed"] if "--mean" in line] == [
        f"{ILSVRC}; the file wants 'mean.binaryproto' (--mean)"
    ]
    assert made.parity["reference"] == "the graph that our reader wrote of Caffe's .caffemodel, run by onnxruntime"
    colour = np.reshape((104.00699, 116.66877, 122.67892), (3, 1, 1)).astype(np.float32)
    _, each = open_classifier(tmp_path / "out", EngineOptions("cpu", "onnxruntime", "fp32")).forward(images[:1])
    np.testing.assert_allclose(each[0], compute_probabilities(cut_ten(images[0], colour, 227)), rtol=0, atol=1e-5)


def with_data_layer(transform: bytes | None) -> Callable[[bool], bytes]:
    """Write a net with this data layer; without one the net begins with an input, as for deployment."""

    def write(old: bool) -> bytes:
        if transform is None:
            return encode_caffemodel(old, data=b"", split=b"", loss=b"")
        return encode_caffemodel(old, data=encode_layer(old, "data", "Data", [], "data", transform))

    return write


ILSVRC = "the mean colour of ILSVRC-2012, BGR 104.007, 116.669, 122.679"
BGR = "channels in the order BGR, as Caffe reads images (--channels)"
CROP = "views of 227 pixels, as Caffe's AlexNets take them (--crop)"
SCALE = 1 / 64
STATED: dict[
    str, tuple[bytes | None, InputConvention, float, tuple[float, ...], list[str]]
] = {  # -> scale, mean, lines
    "nothing": (None, InputConvention(), 1.0, MEAN, [BGR, "pixels times 1 (--scale)", f"{ILSVRC} (--mean)", CROP]),
    "crop": (
        encode_integer(3, 227),
        InputConvention(),
        1.0,
        (0.0,) * 3,
        [BGR],
    ),  # Caffe subtracts only a mean that the layer names
    "one mean value": (encode_float(5, 128.0), InputConvention(), 1.0, (128.0,) * 3, [BGR, CROP]),
    "three mean values": (
        encode_integer(3, 227) + encode_float(5, 104) + encode_float(5, 117) + encode_float(5, 123),
        InputConvention(),
        1.0,
        (104.0, 117.0, 123.0),
        [BGR],
    ),
    "packed mean values": (
        encode_field(5, struct.pack("<3f", 104, 117, 123)),
        InputConvention(),
        1.0,
        (104.0, 117.0, 123.0),
        [BGR, CROP],
    ),
    "scale": (encode_float(1, SCALE) + encode_float(5, 128.0), InputConvention(), SCALE, (2.0,) * 3, [BGR, CROP]),
    "scale, and the user a mean": (
        encode_float(1, SCALE),
        InputConvention(mean=(1.5,) * 3),
        SCALE,
        (1.5,) * 3,
        [BGR, CROP],
    ),
    "nothing, and the user a scale": (
        None,
        InputConvention(scale=0.5),
        0.5,
        tuple(value / 2 for value in MEAN),
        [BGR, f"{ILSVRC} (--mean)", CROP],
    ),
    "a file": (
        encode_field(4, "/a/b.binaryproto"),
        InputConvention(),
        1.0,
        MEAN,
        [BGR, f"{ILSVRC}; the file wants 'b.binaryproto' (--mean)", CROP],
    ),
    "a file, and the user a mean": (
        encode_field(4, "/a/b.binaryproto"),
        InputConvention(mean=(9.0,) * 3, crop=227),
        1.0,
        (9.0,) * 3,
        [BGR],
    ),
}


@pytest.mark.parametrize("old", [True, False], ids=["V1", "new"])
@pytest.mark.parametrize("what", STATED)
def test_numbers_of_the_data_layer_are_used_and_missing_ones_are_listed(what: str, old: bool, tmp_path: Path) -> None:
    transform, options, scale, wanted_mean, lines = STATED[what]
    (tmp_path / "net.caffemodel").write_bytes(with_data_layer(transform)(old))
    source = read_caffe(tmp_path / "net.caffemodel", options)
    pixels, _ = resolve_pixels(options.fill_from(source.known), "nchw", 227)
    assert pixels.scale == scale and list(source.assumed) == lines
    np.testing.assert_allclose(pixels.mean.ravel(), wanted_mean, rtol=1e-6)


@pytest.mark.slow
def test_scale_and_mean_values_are_applied_as_caffe_does(tmp_path: Path, images: np.ndarray) -> None:
    numbers = encode_float(1, SCALE) + encode_float(5, 104) + encode_float(5, 117) + encode_float(5, 123)
    (tmp_path / "net.caffemodel").write_bytes(with_data_layer(numbers)(True))
    import_net(tmp_path / "net.caffemodel", tmp_path / "out", InputConvention(), None)
    colour = np.reshape((104.0, 117.0, 123.0), (3, 1, 1)).astype(np.float32)
    _, each = open_classifier(tmp_path / "out", EngineOptions("cpu", "onnxruntime", "fp32")).forward(images[:1])
    np.testing.assert_allclose(
        each[0], compute_probabilities(cut_ten(images[0], colour, 227) * np.float32(SCALE)), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (encode_float(5, 1.0) + encode_float(5, 2.0), "2 mean values"),
        (encode_float(1, 0.0), "no float32 numbers"),
        (encode_float(1, float("nan")), "no float32 numbers"),
        (encode_float(5, 3e38), "beyond white"),
    ],
    ids=["two mean values", "no scale", "a scale that is no number", "a mean beyond all pixels"],
)
def test_data_layer_with_impossible_numbers_is_refused(transform: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(with_data_layer(transform)(True))
    with pytest.raises(BadInput, match=message):
        import_net(tmp_path / "net.caffemodel", tmp_path / "out", InputConvention(), None)


def replace_layer(name: str, *fields: Any) -> Callable[[], bytes]:
    """Write a net with one layer replaced."""
    changes: dict[str, Any] = {name: encode_layer(False, name, *fields)}
    return lambda: encode_caffemodel(False, **changes)


def replace_weights(name: str, shape: tuple[int, ...]) -> Callable[[], bytes]:
    return lambda: encode_caffemodel(True, weights={name: (np.ones(shape, np.float32), np.ones(shape[:1], np.float32))})


CONV1 = encode_integer(1, 8) + encode_integer(4, 11) + encode_integer(6, 4)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (lambda: encode_caffemodel(True)[:-100], "truncated"),
    "a text": (lambda: b'name: "AlexNet"\nlayer {\n', "not a Caffe file"),
    "nothing": (lambda: b"", "no layers"),
    "another layer": (replace_layer("relu1", "Eltwise", ["conv1"], "conv1"), "'relu1': Eltwise is not one of"),
    "another layer of the old format": (
        lambda: encode_caffemodel(True, relu1=encode_layer(True, "relu1", "Eltwise", ["conv1"], "conv1")),
        "number 25",
    ),
    "a layer out of nothing": (replace_layer("relu1", "ReLU", ["gone"], "conv1"), "takes 'gone'"),
    "two inputs": (replace_layer("relu1", "ReLU", ["conv1", "data"], "conv1"), "2 inputs"),
    "no weights": (replace_layer("conv1", "Convolution", ["data"], "conv1", CONV1), "a file without weights?"),
    "kernels of another size": (replace_weights("conv1", (8, 3, 9, 9)), "has weights [8, 3, 9, 9]"),
    "a matrix of another size": (replace_weights("fc6", (16, 99)), "is --crop right?"),
    "an average for a pooling": (
        replace_layer(
            "pool1", "Pooling", ["norm1"], "pool1", encode_integer(1, 1) + encode_integer(2, 3) + encode_integer(3, 2)
        ),
        "max pooling",
    ),
    "a norm within maps": (
        replace_layer("norm1", "LRN", ["conv1"], "norm1", encode_integer(4, 1)),
        "norms across channels",
    ),
    "no window": (replace_layer("pool1", "Pooling", ["norm1"], "pool1", b""), "windows of [0, 0]"),
    "no classifier": (
        lambda: encode_caffemodel(False, fc6=b"", relu6=b"", drop6=b"", fc8=b"", loss=b""),
        "no classifier",
    ),
    "two layers of one name": (
        lambda: encode_caffemodel(False, relu2=encode_layer(False, "relu1", "ReLU", ["conv2"], "conv2")),
        "make no net",
    ),
    "numbers that do not fill their shape": (
        lambda: encode_caffemodel(False).replace(
            encode_field(1, b"".join(map(encode_varint, SHAPES["fc8"]))),
            encode_field(1, b"".join(map(encode_varint, (CLASSES, 17)))),
        ),
        "numbers where its shape is",
    ),
    "weights that are no numbers": (
        lambda: encode_caffemodel(
            True, weights={"fc8": (np.full(SHAPES["fc8"], np.nan, np.float32), np.zeros(CLASSES, np.float32))}
        ),
        "layer 'fc8', blob 0: holds values that are no numbers",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_caffemodel_is_refused_and_nothing_is_written(what: str, tmp_path: Path) -> None:
    write, message = REFUSED[what]
    (tmp_path / "net.caffemodel").write_bytes(write())
    with pytest.raises(BadInput) as refused:
        import_net(tmp_path / "net.caffemodel", tmp_path / "out", InputConvention(), None)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("side", [255, 100])
def test_mean_image_that_fits_neither_image_nor_crop_is_refused(side: int, tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(encode_caffemodel(True))
    (tmp_path / "mean.binaryproto").write_bytes(encode_blob(np.ones((3, side, side), np.float32), old=True))
    with pytest.raises(BadInput, match=f"mean image is {side} pixels wide"):
        import_net(
            tmp_path / "net.caffemodel",
            tmp_path / "out",
            parse_input_convention(str(tmp_path / "mean.binaryproto"), None, resize=256),
            None,
        )


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 50, encode_blob(np.ones((1, 4, 4), np.float32), old=True)],
    ids=["empty", "noise", "grey"],
)
def test_a_file_that_is_not_a_mean_image_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mean.binaryproto").write_bytes(content)
    with pytest.raises(BadInput, match=r"mean\.binaryproto"):
        parse_input_convention(str(tmp_path / "mean.binaryproto"), None)
