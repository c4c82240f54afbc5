"""Caffe's .caffemodel -> Source: its layers, in either of its two formats, as ONNX nodes.

Caffe divides an LRN's alpha by its size, as ONNX does, and rounds the size behind a pooling up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tencrop.common.errors import BadInput, one_line
from tencrop.export.graph_builder import GraphBuilder
from tencrop.export.importers.caffe_file import read_blob, read_message
from tencrop.export.importers.caffe_pixels import read_caffe_convention
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.source_net import SourceNet

V1_TYPES = {  # V1LayerParameter.LayerType
    1: "Accuracy",
    4: "Convolution",
    5: "Data",
    6: "Dropout",
    9: "HDF5Data",
    12: "ImageData",
    14: "InnerProduct",
    15: "LRN",
    17: "Pooling",
    18: "ReLU",
    20: "Softmax",
    21: "SoftmaxWithLoss",
    22: "Split",
    24: "WindowData",
    29: "MemoryData",
    32: "DummyData",
    36: "Silence",
}
DATA = ("Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "Input", "DummyData")
BESIDE = (*DATA, "SoftmaxWithLoss", "Accuracy", "Silence")  # layers that are no part of the answer
Shape = tuple[int, ...]


@dataclass
class CaffeGraph:
    """A graph under construction: what each of Caffe's blobs is called there, and the shape it has without the batch."""

    path: Path
    graph: GraphBuilder
    values: dict[str, tuple[str, Shape]] = field(default_factory=dict)

    def fail(self, layer: Any, why: str) -> BadInput:
        return BadInput(f"{self.path}: layer {layer.name!r}: {why}")


def read_caffe(path: Path, said: InputConvention) -> SourceNet:
    """Raises BadInput, one line, for a damaged file, a layer that is not AlexNet's kind, or shapes that do not fit."""
    held = read_message(path, "Net")
    layers = list(held.layer) or list(held.layers)
    if not layers:
        raise BadInput(f"{path}: not a .caffemodel (no layers in it)")
    kinds = [
        layer.type if isinstance(layer.type, str) else V1_TYPES.get(layer.type, f"number {layer.type}")
        for layer in layers
    ]
    inputs = [layer for layer, kind in zip(layers, kinds, strict=True) if kind in DATA]
    transform = next((layer.transform for layer in inputs if layer.HasField("transform")), None)
    known, assumed = read_caffe_convention(path, transform, said)
    crop = known.crop or 0
    net = CaffeGraph(path, GraphBuilder())
    first = next(
        (name for layer in layers for name in (*layer.bottom, *layer.top)), ""
    )  # the data layer's first, or the blob given
    net.values[first] = ("image", (3, crop, crop))
    for layer, kind in zip(layers, kinds, strict=True):
        if kind not in BESIDE:
            _add(net, layer, kind)
    return SourceNet(path, "Caffe's .caffemodel", _finish_graph(net, layers, kinds, crop), known, assumed, rebuilt=True)


def _add(net: CaffeGraph, layer: Any, kind: str) -> None:
    """One layer; the tops of a split are copies."""
    if kind not in LAYERS:
        raise net.fail(layer, f"{kind} is not one of {', '.join(LAYERS)}")
    if len(layer.bottom) != 1 or not layer.top:
        raise net.fail(layer, f"{kind} with {len(layer.bottom)} inputs and {len(layer.top)} outputs")
    if layer.bottom[0] not in net.values:
        if kind == "Split":  # of labels, which no image makes
            return
        raise net.fail(layer, f"takes {layer.bottom[0]!r}, which no layer before it makes")
    made = LAYERS[kind](net, layer, *net.values[layer.bottom[0]])
    net.values.update((top, made) for top in layer.top)


def _convolution(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    told = layer.convolution
    pads, sizes, strides = (_pair(told, name) for name in ("pad", "kernel", "stride"))
    strides = [side or 1 for side in strides]
    weight, *bias = _blobs(net, layer, told.bias_term)
    if len(shape) != 3 or told.axis != 1 or any(side != 1 for side in told.dilation) or not told.group:
        raise net.fail(layer, "only plain convolutions over images are read")
    wanted = [weight.shape[0], shape[0] // told.group, *sizes]
    if (
        list(weight.shape) != wanted
        or weight.shape[0] % told.group
        or shape[0] % told.group
        or any(len(b) != len(weight) for b in bias)
    ):
        raise net.fail(layer, f"has weights {list(weight.shape)} where {wanted} are expected")
    after = [
        (side + 2 * pad - size) // stride + 1
        for side, pad, size, stride in zip(shape[1:], pads, sizes, strides, strict=True)
    ]
    if min(after) < 1:
        raise net.fail(layer, f"has kernels of {sizes} for maps of {list(shape[1:])}; is --crop right?")
    attributes = {"kernel_shape": sizes, "strides": strides, "pads": [*pads, *pads], "group": told.group}
    return _node(net, layer, "Conv", x, weight, *bias, **attributes), (len(weight), *after)


def _pooling(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    told = layer.pooling
    if len(shape) != 3 or told.pool or told.global_pooling or told.round_mode or any(_pair(told, "pad")):
        raise net.fail(layer, "only max pooling without padding, rounded up, is read")
    sizes, strides = _pair(told, "kernel"), _pair(told, "stride")
    if min(sizes) < 1 or min(strides) < 1 or any(size > side for size, side in zip(sizes, shape[1:], strict=True)):
        raise net.fail(layer, f"has windows of {sizes} for maps of {list(shape[1:])}; is --crop right?")
    after = [-((size - side) // stride) + 1 for side, size, stride in zip(shape[1:], sizes, strides, strict=True)]
    return _node(net, layer, "MaxPool", x, kernel_shape=sizes, strides=strides, ceil_mode=1), (shape[0], *after)


def _lrn(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    told = layer.lrn
    if len(shape) != 3 or told.norm_region or not told.local_size % 2:
        raise net.fail(layer, "only norms across channels, over an odd number of them, are read")
    numbers = {"size": told.local_size, "alpha": told.alpha, "beta": told.beta, "bias": told.k}
    return _node(net, layer, "LRN", x, **numbers), shape


def _inner_product(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    told = layer.inner_product
    weight, *bias = _blobs(net, layer, told.bias_term)
    shape_of_weight = list(weight.shape)
    if len(shape_of_weight) < 2 or prod(shape_of_weight[:-2]) != 1:
        raise net.fail(layer, f"has weights {shape_of_weight} where a matrix is expected")
    weight = weight.reshape(shape_of_weight[-2:])  # [1,1,K,inputs] in the older format
    inputs, side = prod(shape), 0 if told.transpose else 1
    if told.axis != 1 or weight.shape[side] != inputs or any(len(b) != weight.shape[1 - side] for b in bias):
        raise net.fail(layer, f"has weights for {weight.shape[side]} values and gets {inputs}; is --crop right?")
    flat = net.graph.add_node("Flatten", f"{layer.name}/flat", x, axis=1)
    return _node(net, layer, "Gemm", flat, weight, *bias, transB=side), (weight.shape[1 - side],)


def _relu(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    slope = layer.relu.negative_slope
    return (_node(net, layer, "LeakyRelu", x, alpha=slope) if slope else _node(net, layer, "Relu", x)), shape


def _softmax(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    if layer.softmax.axis != 1:
        raise net.fail(layer, "only a softmax over the classes is read")
    return _node(net, layer, "Softmax", x, axis=1), shape


LAYERS: Mapping[str, Callable[[CaffeGraph, Any, str, Shape], tuple[str, Shape]]] = {
    "Convolution": _convolution,
    "ReLU": _relu,
    "LRN": _lrn,
    "Pooling": _pooling,
    "InnerProduct": _inner_product,
    "Softmax": _softmax,
    "Dropout": lambda net, layer, x, shape: (x, shape),  # Caffe scales in training
    "Split": lambda net, layer, x, shape: (x, shape),
}


def _blobs(net: CaffeGraph, layer: Any, bias: bool) -> list[np.ndarray]:
    """Weights and, flat, biases."""
    if len(layer.blobs) != 1 + bias:
        raise net.fail(layer, f"has {len(layer.blobs)} arrays of numbers, expected {1 + bias}; a file without weights?")
    weight, *biases = (read_blob(blob, f"{net.path}: layer {layer.name!r}") for blob in layer.blobs)
    return [weight, *(values.ravel() for values in biases)]


def _pair(told: Any, name: str) -> list[int]:
    """[height, width] of a kernel, stride or pad, which Caffe tells in one number, in two, or as _h and _w."""
    apart = [getattr(told, f"{name}_h"), getattr(told, f"{name}_w")]
    whole = getattr(told, "kernel_size" if name == "kernel" else name)
    sides = [whole] if isinstance(whole, int) else list(whole)
    return apart if any(apart) else [*sides, *sides][:2] if sides else [0, 0]


def _node(net: CaffeGraph, layer: Any, op: str, x: str, *parameters: np.ndarray, **attributes: Any) -> str:
    names = [net.graph.add_constant(f"{layer.name}/{index}", value) for index, value in enumerate(parameters)]
    return net.graph.add_node(op, f"{layer.name}/{op}", x, *names, **attributes)


def _finish_graph(net: CaffeGraph, layers: list[Any], kinds: list[str], crop: int) -> onnx.ModelProto:
    """The graph up to what the last layer of the answer makes."""
    last = [
        layer for layer, kind in zip(layers, kinds, strict=True) if kind not in BESIDE and layer.top[0] in net.values
    ][-1:]
    name, shape = net.values[last[0].top[0]] if last else ("", ())
    if len(shape) != 1:
        raise BadInput(f"{net.path}: no classifier (its last layer makes {list(shape)} and not a row of scores)")
    try:
        return net.graph.build("caffe", {"image": ("N", 3, crop, crop)}, {name: ("N", *shape)})
    except Exception as error:  # of several types: two layers of one name, ...
        raise BadInput(f"{net.path}: its layers make no net: {one_line(error)}") from None
