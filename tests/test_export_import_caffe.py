"""`tencrop import` of a .caffemodel: written here byte by byte in both of Caffe's formats, compared with a torch net."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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

CLASSES, MAPS = 6, (8, 12)
SHAPES = {"conv1": (8, 3, 11, 11), "conv2": (12, 4, 5, 5), "fc6": (16, 12 * 13 * 13), "fc8": (CLASSES, 16)}
ALPHA = 5e-3  # large, so that the norms do something


def varint(n: int) -> bytes:
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def held(number: int, content: bytes | str) -> bytes:
    """A field of a length: a message, a string, packed numbers."""
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def whole(number: int, n: int) -> bytes:
    return varint(number << 3) + varint(n)


def real(number: int, x: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", x)


def blob(values: np.ndarray, old: bool) -> bytes:
    """BlobProto: four sides in the old format, a BlobShape in the new one."""
    sides = (1,) * (4 - values.ndim) + values.shape
    shape = (
        b"".join(whole(i + 1, side) for i, side in enumerate(sides))
        if old
        else held(7, held(1, b"".join(map(varint, values.shape))))
    )
    return shape + held(5, values.astype("<f4").tobytes())


V1 = {
    "Data": 5,
    "Convolution": 4,
    "ReLU": 18,
    "LRN": 15,
    "Pooling": 17,
    "InnerProduct": 14,
    "Dropout": 6,
    "SoftmaxWithLoss": 21,
    "Split": 22,
}
PARAMETERS = {
    "Convolution": (10, 106),
    "InnerProduct": (17, 117),
    "LRN": (18, 118),
    "Pooling": (19, 121),
    "Data": (36, 100),
}


def layer(
    old: bool,
    name: str,
    kind: str,
    bottom: list[str],
    top: str | None,
    parameter: bytes = b"",
    blobs: tuple[np.ndarray, ...] = (),
) -> bytes:
    """A V1LayerParameter in NetParameter's field 2, or a LayerParameter in its field 100."""
    if old:
        own = (
            held(4, name)
            + whole(5, V1.get(kind, 25))
            + b"".join(held(2, b) for b in bottom)
            + (held(3, top) if top else b"")
        )
    else:
        own = held(1, name) + held(2, kind) + b"".join(held(3, b) for b in bottom) + (held(4, top) if top else b"")
    own += b"".join(held(6 if old else 7, blob(values, old)) for values in blobs)
    own += held(PARAMETERS[kind][0 if old else 1], parameter) if kind in PARAMETERS else b""
    return held(2 if old else 100, own)


def weights(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)

    def one(name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        spread = np.sqrt(2 / np.prod(shape[1:])) * (0.05 if name == "fc8" else 1)
        return random.normal(0, spread, shape).astype(np.float32), random.normal(0, 0.5, shape[:1]).astype(np.float32)

    return {name: one(name, shape) for name, shape in SHAPES.items()}


def caffemodel(old: bool, crop: int = 227, **changes: Any) -> bytes:
    """conv1 relu norm pool, conv2 (two groups) relu norm pool, fc6 relu dropout, fc8, loss; as training leaves it."""
    w = weights() | changes.pop("weights", {})
    lrn = whole(1, 5) + real(2, ALPHA) + real(3, 0.75)
    pool = whole(1, 0) + whole(2, 3) + whole(3, 2)
    square = {"pad": lambda n: whole(3, n), "kernel": lambda n: whole(4, n), "stride": lambda n: whole(6, n)}
    conv1 = whole(1, 8) + square["kernel"](11) + square["stride"](4)
    conv2 = whole(1, 12) + square["pad"](2) + square["kernel"](5) + whole(5, 2)
    parts = {
        "data": layer(old, "data", "Data", [], "data", held(4, "/home/someone/mean.binaryproto") + whole(3, crop)),
        "split": layer(old, "label_split", "Split", ["label"], "label_0"),
        "conv1": layer(old, "conv1", "Convolution", ["data"], "conv1", conv1, w["conv1"]),
        "relu1": layer(old, "relu1", "ReLU", ["conv1"], "conv1"),
        "norm1": layer(old, "norm1", "LRN", ["conv1"], "norm1", lrn),
        "pool1": layer(old, "pool1", "Pooling", ["norm1"], "pool1", pool),
        "conv2": layer(old, "conv2", "Convolution", ["pool1"], "conv2", conv2, w["conv2"]),
        "relu2": layer(old, "relu2", "ReLU", ["conv2"], "conv2"),
        "norm2": layer(old, "norm2", "LRN", ["conv2"], "norm2", lrn),
        "pool2": layer(old, "pool2", "Pooling", ["norm2"], "pool2", pool),
        "fc6": layer(old, "fc6", "InnerProduct", ["pool2"], "fc6", whole(1, 16), w["fc6"]),
        "relu6": layer(old, "relu6", "ReLU", ["fc6"], "fc6"),
        "drop6": layer(old, "drop6", "Dropout", ["fc6"], "fc6"),
        "fc8": layer(old, "fc8", "InnerProduct", ["fc6"], "fc8", whole(1, CLASSES), w["fc8"]),
        "loss": layer(old, "loss", "SoftmaxWithLoss", ["fc8", "label_0"], "loss"),
    }
    return held(1, "AlexNet") + b"".join((parts | changes).values())


@torch.inference_mode()
def torch_probabilities(seen: np.ndarray, alpha: float = ALPHA, k: float = 1.0) -> np.ndarray:
    """Of float [N,3,227,227] BGR, the mean subtracted. Caffe divides alpha by the size of the window, as torch does."""
    w = {name: (torch.from_numpy(weight), torch.from_numpy(bias)) for name, (weight, bias) in weights().items()}

    def norm_pool(x: Tensor) -> Tensor:
        return F.max_pool2d(F.local_response_norm(F.relu(x), 5, alpha, 0.75, k), 3, 2, ceil_mode=True)

    x = norm_pool(F.conv2d(torch.from_numpy(seen.copy()), *w["conv1"], stride=4))
    x = norm_pool(F.conv2d(x, *w["conv2"], padding=2, groups=2)).flatten(1)
    return F.linear(F.relu(F.linear(x, *w["fc6"])), *w["fc8"]).softmax(-1).numpy()


def ten(image: np.ndarray, mean: np.ndarray, crop: int) -> np.ndarray:
    """Caffe's crops of uint8 [256,256,3]: BGR, of the image minus a mean image [3,256,256], mirrored after the subtraction."""
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


@pytest.mark.parametrize(("old", "crop"), [(True, 227), (False, 227), (False, 226)], ids=["V1", "new", "rounded up"])
def test_imported_net_answers_as_the_torch_net(
    old: bool, crop: int, tmp_path: Path, mean: np.ndarray, images: np.ndarray
) -> None:
    (tmp_path / "alexnet.caffemodel").write_bytes(caffemodel(old, crop))
    (tmp_path / "mean.binaryproto").write_bytes(blob(mean, old=True))
    made = import_net(
        tmp_path / "alexnet.caffemodel",
        tmp_path / "out",
        parse_input_convention(str(tmp_path / "mean.binaryproto"), None),
        None,
    )
    assert (made.contract.resize, made.contract.crop, made.parity["lrn_nodes"]) == (256, crop, 2)
    classifier = open_classifier(tmp_path / "out", EngineOptions("cpu", "openvino", "fp32"))
    answered, each = classifier.forward(images)
    for image, views, average in zip(images, each, answered, strict=True):
        want = torch_probabilities(ten(image, mean, crop))
        np.testing.assert_allclose(views, want, rtol=0, atol=1e-5)
        np.testing.assert_allclose(average, want.mean(0), rtol=0, atol=1e-5)
    assert b"someone" not in (tmp_path / "out/tencrop.onnx").read_bytes()


@pytest.mark.parametrize("old", [True, False], ids=["V1", "new"])
def test_loss_that_names_nothing_that_it_makes_is_passed_over(old: bool, tmp_path: Path) -> None:
    """As BVLC's own definition of AlexNet ends; Caffe gives it a name of its own and writes none."""
    (tmp_path / "a.caffemodel").write_bytes(
        caffemodel(old, loss=layer(old, "loss", "SoftmaxWithLoss", ["fc8", "label_0"], None))
    )
    (tmp_path / "b.caffemodel").write_bytes(caffemodel(old))
    nets = [read_caffe(tmp_path / name, InputConvention()).model for name in ("a.caffemodel", "b.caffemodel")]
    assert nets[0] == nets[1] and nets[0].graph.output[0].name == "fc8/Gemm"


def test_wrong_readings_would_show(mean: np.ndarray, images: np.ndarray) -> None:
    seen = ten(images[0], mean, 227)
    right = torch_probabilities(seen)
    flat = mean.mean((1, 2), keepdims=True) * np.ones_like(mean)
    wrong = {
        "no norm": torch_probabilities(seen, alpha=0.0),
        "alpha not divided": torch_probabilities(seen, alpha=5 * ALPHA),
        "k = 2": torch_probabilities(seen, k=2.0),
        "RGB": torch_probabilities(seen[:, ::-1]),
        "one mean colour": torch_probabilities(ten(images[0], flat, 227)),
    }
    assert all(np.abs(answer - right).max() > 1e-4 for answer in wrong.values()), wrong


def test_without_a_mean_image_the_mean_colour_of_ilsvrc_is_taken(tmp_path: Path, images: np.ndarray) -> None:
    (tmp_path / "alexnet.caffemodel").write_bytes(caffemodel(old=True))
    made = import_net(tmp_path / "alexnet.caffemodel", tmp_path / "out", InputConvention(), None)
    assert [line for line in made.recipe["assumed"] if "--mean" in line] == [
        f"{ILSVRC}; the file wants 'mean.binaryproto' (--mean)"
    ]
    assert made.parity["reference"] == "the graph that our reader wrote of Caffe's .caffemodel, run by onnxruntime"
    colour = np.reshape((104.00699, 116.66877, 122.67892), (3, 1, 1)).astype(np.float32)
    _, each = open_classifier(tmp_path / "out", EngineOptions("cpu", "onnxruntime", "fp32")).forward(images[:1])
    np.testing.assert_allclose(each[0], torch_probabilities(ten(images[0], colour, 227)), rtol=0, atol=1e-5)


def data(transform: bytes | None) -> Callable[[bool], bytes]:
    """A net whose data layer says this of pixels; without any it begins with an input, as for deployment."""

    def write(old: bool) -> bytes:
        if transform is None:
            return caffemodel(old, data=b"", split=b"", loss=b"")
        return caffemodel(old, data=layer(old, "data", "Data", [], "data", transform))

    return write


ILSVRC = "the mean colour of ILSVRC-2012, BGR 104.007, 116.669, 122.679"
BGR = "channels in the order BGR, as Caffe reads images (--channels)"
CROP = "views of 227 pixels, as Caffe's AlexNets take them (--crop)"
SCALE = 1 / 64
TOLD: dict[str, tuple[bytes | None, InputConvention, float, tuple[float, ...], list[str]]] = {  # -> scale, mean, lines
    "nothing": (None, InputConvention(), 1.0, MEAN, [BGR, "pixels times 1 (--scale)", f"{ILSVRC} (--mean)", CROP]),
    "crop": (whole(3, 227), InputConvention(), 1.0, (0.0,) * 3, [BGR]),  # Caffe subtracts what it is told to
    "one mean value": (real(5, 128.0), InputConvention(), 1.0, (128.0,) * 3, [BGR, CROP]),
    "three mean values": (
        whole(3, 227) + real(5, 104) + real(5, 117) + real(5, 123),
        InputConvention(),
        1.0,
        (104.0, 117.0, 123.0),
        [BGR],
    ),
    "packed mean values": (
        held(5, struct.pack("<3f", 104, 117, 123)),
        InputConvention(),
        1.0,
        (104.0, 117.0, 123.0),
        [BGR, CROP],
    ),
    "scale": (real(1, SCALE) + real(5, 128.0), InputConvention(), SCALE, (2.0,) * 3, [BGR, CROP]),
    "scale, and the user a mean": (real(1, SCALE), InputConvention(mean=(1.5,) * 3), SCALE, (1.5,) * 3, [BGR, CROP]),
    "nothing, and the user a scale": (
        None,
        InputConvention(scale=0.5),
        0.5,
        tuple(value / 2 for value in MEAN),
        [BGR, f"{ILSVRC} (--mean)", CROP],
    ),
    "a file": (
        held(4, "/a/b.binaryproto"),
        InputConvention(),
        1.0,
        MEAN,
        [BGR, f"{ILSVRC}; the file wants 'b.binaryproto' (--mean)", CROP],
    ),
    "a file, and the user a mean": (
        held(4, "/a/b.binaryproto"),
        InputConvention(mean=(9.0,) * 3, crop=227),
        1.0,
        (9.0,) * 3,
        [BGR],
    ),
}


@pytest.mark.parametrize("old", [True, False], ids=["V1", "new"])
@pytest.mark.parametrize("what", TOLD)
def test_numbers_of_the_data_layer_are_taken_and_what_it_leaves_open_is_told(
    what: str, old: bool, tmp_path: Path
) -> None:
    transform, options, scale, mean_said, lines = TOLD[what]
    (tmp_path / "net.caffemodel").write_bytes(data(transform)(old))
    source = read_caffe(tmp_path / "net.caffemodel", options)
    pixels, _ = resolve_pixels(options.fill_from(source.known), "nchw", 227)
    assert pixels.scale == scale and list(source.assumed) == lines
    np.testing.assert_allclose(pixels.mean.ravel(), mean_said, rtol=1e-6)


def test_scale_and_mean_values_are_applied_as_caffe_does(tmp_path: Path, images: np.ndarray) -> None:
    (tmp_path / "net.caffemodel").write_bytes(data(real(1, SCALE) + real(5, 104) + real(5, 117) + real(5, 123))(True))
    import_net(tmp_path / "net.caffemodel", tmp_path / "out", InputConvention(), None)
    colour = np.reshape((104.0, 117.0, 123.0), (3, 1, 1)).astype(np.float32)
    _, each = open_classifier(tmp_path / "out", EngineOptions("cpu", "onnxruntime", "fp32")).forward(images[:1])
    np.testing.assert_allclose(
        each[0], torch_probabilities(ten(images[0], colour, 227) * np.float32(SCALE)), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (real(5, 1.0) + real(5, 2.0), "2 mean values"),
        (real(1, 0.0), "no float32 numbers"),
        (real(1, float("nan")), "no float32 numbers"),
        (real(5, 3e38), "beyond white"),
    ],
    ids=["two mean values", "no scale", "a scale that is no number", "a mean beyond all pixels"],
)
def test_data_layer_of_impossible_numbers_is_refused(transform: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(data(transform)(True))
    with pytest.raises(BadInput, match=message):
        import_net(tmp_path / "net.caffemodel", tmp_path / "out", InputConvention(), None)


def other(name: str, *fields: Any) -> Callable[[], bytes]:
    """One layer another one."""
    changes: dict[str, Any] = {name: layer(False, name, *fields)}
    return lambda: caffemodel(False, **changes)


def with_weights(name: str, shape: tuple[int, ...]) -> Callable[[], bytes]:
    return lambda: caffemodel(True, weights={name: (np.ones(shape, np.float32), np.ones(shape[:1], np.float32))})


CONV1 = whole(1, 8) + whole(4, 11) + whole(6, 4)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (lambda: caffemodel(True)[:-100], "truncated"),
    "a text": (lambda: b'name: "AlexNet"\nlayer {\n', "not a Caffe file"),
    "nothing": (lambda: b"", "no layers"),
    "another layer": (other("relu1", "Eltwise", ["conv1"], "conv1"), "'relu1': Eltwise is not one of"),
    "another layer of the old format": (
        lambda: caffemodel(True, relu1=layer(True, "relu1", "Eltwise", ["conv1"], "conv1")),
        "number 25",
    ),
    "a layer out of nothing": (other("relu1", "ReLU", ["gone"], "conv1"), "takes 'gone'"),
    "two inputs": (other("relu1", "ReLU", ["conv1", "data"], "conv1"), "2 inputs"),
    "no weights": (other("conv1", "Convolution", ["data"], "conv1", CONV1), "a file without weights?"),
    "kernels of another size": (with_weights("conv1", (8, 3, 9, 9)), "has weights [8, 3, 9, 9]"),
    "a matrix of another size": (with_weights("fc6", (16, 99)), "is --crop right?"),
    "an average for a pooling": (
        other("pool1", "Pooling", ["norm1"], "pool1", whole(1, 1) + whole(2, 3) + whole(3, 2)),
        "max pooling",
    ),
    "a norm within maps": (other("norm1", "LRN", ["conv1"], "norm1", whole(4, 1)), "norms across channels"),
    "no window": (other("pool1", "Pooling", ["norm1"], "pool1", b""), "windows of [0, 0]"),
    "no classifier": (lambda: caffemodel(False, fc6=b"", relu6=b"", drop6=b"", fc8=b"", loss=b""), "no classifier"),
    "two layers of one name": (
        lambda: caffemodel(False, relu2=layer(False, "relu1", "ReLU", ["conv2"], "conv2")),
        "make no net",
    ),
    "numbers that do not fill their shape": (
        lambda: caffemodel(False).replace(
            held(1, b"".join(map(varint, SHAPES["fc8"]))), held(1, b"".join(map(varint, (CLASSES, 17))))
        ),
        "numbers where its shape is",
    ),
    "weights that are no numbers": (
        lambda: caffemodel(
            True, weights={"fc8": (np.full(SHAPES["fc8"], np.nan, np.float32), np.zeros(CLASSES, np.float32))}
        ),
        "no numbers",
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
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(True))
    (tmp_path / "mean.binaryproto").write_bytes(blob(np.ones((3, side, side), np.float32), old=True))
    with pytest.raises(BadInput, match=f"mean image is {side} pixels wide"):
        import_net(
            tmp_path / "net.caffemodel",
            tmp_path / "out",
            parse_input_convention(str(tmp_path / "mean.binaryproto"), None, resize=256),
            None,
        )


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 50, blob(np.ones((1, 4, 4), np.float32), old=True)], ids=["empty", "noise", "grey"]
)
def test_file_that_is_no_mean_image_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mean.binaryproto").write_bytes(content)
    with pytest.raises(BadInput, match=r"mean\.binaryproto"):
        parse_input_convention(str(tmp_path / "mean.binaryproto"), None)
