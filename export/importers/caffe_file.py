"""Reads Caffe's binary files: the few messages of its caffe.proto that hold a trained net, parsed by google.protobuf.

The message types are made at run time from the table below. The parser skips fields that the table lacks. Floats that
Caffe packs are declared as bytes, which is the same on the wire, so that numpy reads them without a copy.
https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto
"""

from collections.abc import Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from tencrop.common.errors import BadInput

PACKAGE = "tencrop.caffe"
Field = tuple[int, str, str | None]  # number, type, default; a capitalised type is a message, "*" means repeated
MESSAGES: Mapping[str, Mapping[str, Field]] = {  # message -> field -> Field
    "BlobShape": {"dim": (1, "int64*", None)},
    "BlobProto": {
        "num": (1, "int64", "0"),
        "channels": (2, "int64", "0"),
        "height": (3, "int64", "0"),
        "width": (4, "int64", "0"),
        "data": (5, "bytes", None),
        "shape": (7, "BlobShape", None),
        "double_data": (8, "bytes", None),
    },
    "Transformation": {
        "scale": (1, "float", "1"),
        "crop_size": (3, "uint32", "0"),
        "mean_file": (4, "bytes", None),
        "mean_value": (5, "float*", None),
    },
    "Convolution": {
        "bias_term": (2, "bool", "true"),
        "pad": (3, "uint32*", None),
        "kernel_size": (4, "uint32*", None),
        "group": (5, "uint32", "1"),
        "stride": (6, "uint32*", None),
        "pad_h": (9, "uint32", "0"),
        "pad_w": (10, "uint32", "0"),
        "kernel_h": (11, "uint32", "0"),
        "kernel_w": (12, "uint32", "0"),
        "stride_h": (13, "uint32", "0"),
        "stride_w": (14, "uint32", "0"),
        "axis": (16, "int32", "1"),
        "dilation": (18, "uint32*", None),
    },
    "InnerProduct": {"bias_term": (2, "bool", "true"), "axis": (5, "int32", "1"), "transpose": (6, "bool", "false")},
    "LRN": {
        "local_size": (1, "uint32", "5"),
        "alpha": (2, "float", "1"),
        "beta": (3, "float", "0.75"),
        "norm_region": (4, "int32", "0"),
        "k": (5, "float", "1"),
    },
    "Pooling": {
        "pool": (1, "int32", "0"),
        "kernel_size": (2, "uint32", "0"),
        "stride": (3, "uint32", "1"),
        "pad": (4, "uint32", "0"),
        "kernel_h": (5, "uint32", "0"),
        "kernel_w": (6, "uint32", "0"),
        "stride_h": (7, "uint32", "0"),
        "stride_w": (8, "uint32", "0"),
        "pad_h": (9, "uint32", "0"),
        "pad_w": (10, "uint32", "0"),
        "global_pooling": (12, "bool", "false"),
        "round_mode": (13, "int32", "0"),
    },
    "Dropout": {"dropout_ratio": (1, "float", "0.5")},
    "ReLU": {"negative_slope": (1, "float", "0")},
    "Softmax": {"axis": (2, "int32", "1")},
    "Layer": {
        "name": (1, "string", None),
        "type": (2, "string", None),
        "bottom": (3, "string*", None),
        "top": (4, "string*", None),
        "blobs": (7, "BlobProto*", None),
        "transform": (100, "Transformation", None),
        "convolution": (106, "Convolution", None),
        "dropout": (108, "Dropout", None),
        "inner_product": (117, "InnerProduct", None),
        "lrn": (118, "LRN", None),
        "pooling": (121, "Pooling", None),
        "relu": (123, "ReLU", None),
        "softmax": (125, "Softmax", None),
    },
    "V1Layer": {
        "bottom": (2, "string*", None),
        "top": (3, "string*", None),
        "name": (4, "string", None),
        "type": (5, "int32", "0"),
        "blobs": (6, "BlobProto*", None),
        "convolution": (10, "Convolution", None),
        "dropout": (12, "Dropout", None),
        "inner_product": (17, "InnerProduct", None),
        "lrn": (18, "LRN", None),
        "pooling": (19, "Pooling", None),
        "relu": (30, "ReLU", None),
        "transform": (36, "Transformation", None),
        "softmax": (39, "Softmax", None),
    },
    "Net": {"name": (1, "string", None), "layers": (2, "V1Layer*", None), "layer": (100, "Layer*", None)},
}
MAX_DIMS = 8


@cache
def _make_types() -> Any:
    """The protobuf class of each message, by name."""
    descriptor = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="tencrop/caffe.proto", package=PACKAGE, syntax="proto2")
    for message, table in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, kind, default) in table.items():
            label = descriptor.LABEL_REPEATED if kind.endswith("*") else descriptor.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=label, default_value=default)
            kind = kind.rstrip("*")
            if kind in MESSAGES:
                field.type, field.type_name = descriptor.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = descriptor.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


def read_message(path: Path, message: str) -> Any:
    """Parse a file as one of MESSAGES. Raises BadInput."""
    parsed = _make_types()[message]()
    try:
        parsed.ParseFromString(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    except (DecodeError, ValueError):
        raise BadInput(f"{path}: not a Caffe file, or a truncated one") from None
    return parsed


def read_blob(blob: Any, source: str) -> np.ndarray:
    """Read a BlobProto's numbers as a float32 array.

    Raises BadInput, naming `source`, where the numbers do not fill the shape or are not finite.
    """
    shape = list(blob.shape.dim) if blob.HasField("shape") else [blob.num, blob.channels, blob.height, blob.width]
    data, kind = (blob.data, "<f4") if blob.data else (blob.double_data, "<f8")
    if len(shape) > MAX_DIMS or any(side < 1 for side in shape) or prod(shape) * int(kind[-1]) != len(data):
        raise BadInput(
            f"{source}: has {len(data) // int(kind[-1])} numbers where its shape is {shape[:MAX_DIMS]}: a damaged file"
        )
    with np.errstate(over="ignore"):  # a double beyond float32 becomes an infinity
        values = np.frombuffer(data, kind).reshape(shape).astype(np.float32)
    if not np.isfinite(values).all():
        raise BadInput(f"{source}: holds values that are no numbers")
    return values


def read_mean_image(path: Path) -> np.ndarray:
    """Read a mean image of Caffe's compute_image_mean: float32 [3,S,S], BGR, 0..255. Raises BadInput."""
    values = read_blob(read_message(path, "BlobProto"), str(path))
    image = values.reshape(values.shape[-3:]) if values.ndim >= 3 and values.size == prod(values.shape[-3:]) else values
    if image.ndim != 3 or len(image) != 3 or image.shape[1] != image.shape[2]:
        raise BadInput(f"{path}: a mean image is [3, S, S]; this one is {list(values.shape)}")
    return image
