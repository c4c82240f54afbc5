"""Writes Caffe's layers as ONNX nodes.

Like ONNX, Caffe divides an LRN's alpha by its size. Caffe rounds the output size of a pooling up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.export.graph_builder import GraphBuilder
from tencrop.export.importers.caffe_file import read_blob

Shape = tuple[int, ...]  # without the batch


@dataclass
class CaffeGraph:
    """A graph under construction. `values` maps the name of a Caffe blob to its name in the graph and its shape."""

    path: Path
    graph: GraphBuilder
    values: dict[str, tuple[str, Shape]] = field(default_factory=dict)

    def fail(self, layer: Any, why: str) -> BadInput:
        """An error that names the layer."""
        return BadInput(f"{self.path}: layer {layer.name!r}: {why}")


def add_layer(net: CaffeGraph, layer: Any, kind: str) -> None:
    """Add one layer. Every output ("top") gets the same value. Raises BadInput for an unknown or misplaced layer."""
    if kind not in LAYERS:
        raise net.fail(layer, f"{kind} is not one of {', '.join(LAYERS)}")
    if len(layer.bottom) != 1 or not layer.top:
        raise net.fail(layer, f"{kind} with {len(layer.bottom)} inputs and {len(layer.top)} outputs")
    if layer.bottom[0] not in net.values:
        if kind == "Split":  # of labels, which do not depend on an image
            return
        raise net.fail(layer, f"takes {layer.bottom[0]!r}, which no layer before it makes")
    output = LAYERS[kind](net, layer, *net.values[layer.bottom[0]])
    net.values.update((top, output) for top in layer.top)


def _add_convolution(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    spec = layer.convolution
    pads, sizes, strides = (_read_pair(spec, name) for name in ("pad", "kernel", "stride"))
    strides = [side or 1 for side in strides]
    weight, *bias = _read_parameters(net, layer, spec.bias_term)
    if len(shape) != 3 or spec.axis != 1 or any(side != 1 for side in spec.dilation) or not spec.group:
        raise net.fail(layer, "only plain convolutions over images are read")
    wanted = [weight.shape[0], shape[0] // spec.group, *sizes]
    is_divisible = weight.shape[0] % spec.group == 0 and shape[0] % spec.group == 0
    if list(weight.shape) != wanted or not is_divisible or any(len(b) != len(weight) for b in bias):
        raise net.fail(layer, f"has weights {list(weight.shape)} where {wanted} are expected")
    out = [
        (side + 2 * pad - size) // stride + 1
        for side, pad, size, stride in zip(shape[1:], pads, sizes, strides, strict=True)
    ]
    if min(out) < 1:
        raise net.fail(layer, f"has kernels of {sizes} for maps of {list(shape[1:])}; is --crop right?")
    attributes = {"kernel_shape": sizes, "strides": strides, "pads": [*pads, *pads], "group": spec.group}
    return _add_node(net, layer, "Conv", x, weight, *bias, **attributes), (len(weight), *out)


def _add_pooling(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    spec = layer.pooling
    if len(shape) != 3 or spec.pool or spec.global_pooling or spec.round_mode or any(_read_pair(spec, "pad")):
        raise net.fail(layer, "only max pooling without padding, rounded up, is read")
    sizes, strides = _read_pair(spec, "kernel"), _read_pair(spec, "stride")
    if min(sizes) < 1 or min(strides) < 1 or any(size > side for size, side in zip(sizes, shape[1:], strict=True)):
        raise net.fail(layer, f"has windows of {sizes} for maps of {list(shape[1:])}; is --crop right?")
    out = [-((size - side) // stride) + 1 for side, size, stride in zip(shape[1:], sizes, strides, strict=True)]
    return _add_node(net, layer, "MaxPool", x, kernel_shape=sizes, strides=strides, ceil_mode=1), (shape[0], *out)


def _add_lrn(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    spec = layer.lrn
    if len(shape) != 3 or spec.norm_region or not spec.local_size % 2:
        raise net.fail(layer, "only norms across channels, over an odd number of them, are read")
    numbers = {"size": spec.local_size, "alpha": spec.alpha, "beta": spec.beta, "bias": spec.k}
    return _add_node(net, layer, "LRN", x, **numbers), shape


def _add_inner_product(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    spec = layer.inner_product
    weight, *bias = _read_parameters(net, layer, spec.bias_term)
    sides = list(weight.shape)
    if len(sides) < 2 or prod(sides[:-2]) != 1:
        raise net.fail(layer, f"has weights {sides} where a matrix is expected")
    weight = weight.reshape(sides[-2:])  # [1,1,K,inputs] in the older format
    inputs, side = prod(shape), 0 if spec.transpose else 1
    if spec.axis != 1 or weight.shape[side] != inputs or any(len(b) != weight.shape[1 - side] for b in bias):
        raise net.fail(layer, f"has weights for {weight.shape[side]} values and gets {inputs}; is --crop right?")
    flat = net.graph.add_node("Flatten", f"{layer.name}/flat", x, axis=1)
    return _add_node(net, layer, "Gemm", flat, weight, *bias, transB=side), (weight.shape[1 - side],)


def _add_relu(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    slope = layer.relu.negative_slope
    return (_add_node(net, layer, "LeakyRelu", x, alpha=slope) if slope else _add_node(net, layer, "Relu", x)), shape


def _add_dropout(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    """Caffe scales in training, as ONNX's Dropout does, whose ratio is 0.5 where it has none."""
    ratio = layer.dropout.dropout_ratio
    return _add_node(net, layer, "Dropout", x, *([] if ratio == 0.5 else [np.array(ratio, np.float32)])), shape


def _add_softmax(net: CaffeGraph, layer: Any, x: str, shape: Shape) -> tuple[str, Shape]:
    if layer.softmax.axis != 1:
        raise net.fail(layer, "only a softmax over the classes is read")
    return _add_node(net, layer, "Softmax", x, axis=1), shape


LAYERS: Mapping[str, Callable[[CaffeGraph, Any, str, Shape], tuple[str, Shape]]] = {
    "Convolution": _add_convolution,
    "ReLU": _add_relu,
    "LRN": _add_lrn,
    "Pooling": _add_pooling,
    "InnerProduct": _add_inner_product,
    "Softmax": _add_softmax,
    "Dropout": _add_dropout,
    "Split": lambda net, layer, x, shape: (x, shape),
}


def _read_parameters(net: CaffeGraph, layer: Any, has_bias: bool) -> list[np.ndarray]:
    """The weights and, flat, the biases."""
    if len(layer.blobs) != 1 + has_bias:
        raise net.fail(
            layer, f"has {len(layer.blobs)} arrays of numbers, expected {1 + has_bias}; a file without weights?"
        )
    source = f"{net.path}: layer {layer.name!r}"
    weight, *biases = (read_blob(blob, f"{source}, blob {index}") for index, blob in enumerate(layer.blobs))
    return [weight, *(values.ravel() for values in biases)]


def _read_pair(spec: Any, name: str) -> list[int]:
    """[height, width] of a kernel, stride or pad, which Caffe stores as one number, as two, or as _h and _w."""
    apart = [getattr(spec, f"{name}_h"), getattr(spec, f"{name}_w")]
    if any(apart):
        return apart
    whole = getattr(spec, "kernel_size" if name == "kernel" else name)
    sides = [whole] if isinstance(whole, int) else list(whole)
    return [*sides, *sides][:2] if sides else [0, 0]


def _add_node(net: CaffeGraph, layer: Any, op: str, x: str, *parameters: np.ndarray, **attributes: Any) -> str:
    names = [net.graph.add_constant(f"{layer.name}/{index}", value) for index, value in enumerate(parameters)]
    return net.graph.add_node(op, f"{layer.name}/{op}", x, *names, **attributes)
