"""Writes a .caffemodel byte by byte, in both of Caffe's formats: a thin AlexNet of two convolutions."""

import struct
from typing import Any

import numpy as np

CLASSES, MAPS = 6, (8, 12)
SHAPES = {"conv1": (8, 3, 11, 11), "conv2": (12, 4, 5, 5), "fc6": (16, 12 * 13 * 13), "fc8": (CLASSES, 16)}
ALPHA = 5e-3  # large, so that the norms do something


def encode_varint(n: int) -> bytes:
    return bytes([n & 127 | 128]) + encode_varint(n >> 7) if n > 127 else bytes([n])


def encode_field(number: int, content: bytes | str) -> bytes:
    """A field of a length: a message, a string, packed numbers."""
    content = content.encode() if isinstance(content, str) else content
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def encode_integer(number: int, n: int) -> bytes:
    return encode_varint(number << 3) + encode_varint(n)


def encode_float(number: int, x: float) -> bytes:
    return encode_varint(number << 3 | 5) + struct.pack("<f", x)


def encode_blob(values: np.ndarray, old: bool) -> bytes:
    """BlobProto: four sides in the old format, a BlobShape in the new one."""
    sides = (1,) * (4 - values.ndim) + values.shape
    shape = (
        b"".join(encode_integer(i + 1, side) for i, side in enumerate(sides))
        if old
        else encode_field(7, encode_field(1, b"".join(map(encode_varint, values.shape))))
    )
    return shape + encode_field(5, values.astype("<f4").tobytes())


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


def encode_layer(
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
            encode_field(4, name)
            + encode_integer(5, V1.get(kind, 25))
            + b"".join(encode_field(2, b) for b in bottom)
            + (encode_field(3, top) if top else b"")
        )
    else:
        own = (
            encode_field(1, name)
            + encode_field(2, kind)
            + b"".join(encode_field(3, b) for b in bottom)
            + (encode_field(4, top) if top else b"")
        )
    own += b"".join(encode_field(6 if old else 7, encode_blob(values, old)) for values in blobs)
    own += encode_field(PARAMETERS[kind][0 if old else 1], parameter) if kind in PARAMETERS else b""
    return encode_field(2 if old else 100, own)


def make_weights(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)

    def make_pair(name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        spread = np.sqrt(2 / np.prod(shape[1:])) * (0.05 if name == "fc8" else 1)
        return random.normal(0, spread, shape).astype(np.float32), random.normal(0, 0.5, shape[:1]).astype(np.float32)

    return {name: make_pair(name, shape) for name, shape in SHAPES.items()}


def encode_caffemodel(old: bool, crop: int = 227, **changes: Any) -> bytes:
    """conv1 relu norm pool, conv2 (two groups) relu norm pool, fc6 relu dropout, fc8, loss; as training leaves it."""
    w = make_weights() | changes.pop("weights", {})
    lrn = encode_integer(1, 5) + encode_float(2, ALPHA) + encode_float(3, 0.75)
    pool = encode_integer(1, 0) + encode_integer(2, 3) + encode_integer(3, 2)
    square = {
        "pad": lambda n: encode_integer(3, n),
        "kernel": lambda n: encode_integer(4, n),
        "stride": lambda n: encode_integer(6, n),
    }
    conv1 = encode_integer(1, 8) + square["kernel"](11) + square["stride"](4)
    conv2 = encode_integer(1, 12) + square["pad"](2) + square["kernel"](5) + encode_integer(5, 2)
    parts = {
        "data": encode_layer(
            old, "data", "Data", [], "data", encode_field(4, "/home/someone/mean.binaryproto") + encode_integer(3, crop)
        ),
        "split": encode_layer(old, "label_split", "Split", ["label"], "label_0"),
        "conv1": encode_layer(old, "conv1", "Convolution", ["data"], "conv1", conv1, w["conv1"]),
        "relu1": encode_layer(old, "relu1", "ReLU", ["conv1"], "conv1"),
        "norm1": encode_layer(old, "norm1", "LRN", ["conv1"], "norm1", lrn),
        "pool1": encode_layer(old, "pool1", "Pooling", ["norm1"], "pool1", pool),
        "conv2": encode_layer(old, "conv2", "Convolution", ["pool1"], "conv2", conv2, w["conv2"]),
        "relu2": encode_layer(old, "relu2", "ReLU", ["conv2"], "conv2"),
        "norm2": encode_layer(old, "norm2", "LRN", ["conv2"], "norm2", lrn),
        "pool2": encode_layer(old, "pool2", "Pooling", ["norm2"], "pool2", pool),
        "fc6": encode_layer(old, "fc6", "InnerProduct", ["pool2"], "fc6", encode_integer(1, 16), w["fc6"]),
        "relu6": encode_layer(old, "relu6", "ReLU", ["fc6"], "fc6"),
        "drop6": encode_layer(old, "drop6", "Dropout", ["fc6"], "fc6"),
        "fc8": encode_layer(old, "fc8", "InnerProduct", ["fc6"], "fc8", encode_integer(1, CLASSES), w["fc8"]),
        "loss": encode_layer(old, "loss", "SoftmaxWithLoss", ["fc8", "label_0"], "loss"),
    }
    return encode_field(1, "AlexNet") + b"".join((parts | changes).values())
