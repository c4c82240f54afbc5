"""checkpoint -> net.onnx: the layers of the net, each as standard ONNX nodes. Float crop in, logits out.

Written from the same table as the torch net and not traced from it, so that export/verify.py compares two readings of one
recipe; no tracer's leftovers (stack traces, paths, shape arithmetic) can be in the file.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from tencrop.export.graph_builder import Graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.net_config import LRN, Conv, Dropout, Layer, Linear, Pool, WithinMapLRN, layer_table


def net_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    """`input` float32 [N,3,crop,crop], mean subtracted -> `logits` float32 [N,C]."""
    graph = Graph()
    value = "input"
    config = checkpoint.net
    table = list(layer_table(config))
    for layer in table:
        value = EMITTERS[layer.op](graph, layer, value, checkpoint.weights)
    graph.node("Identity", "logits", value)
    return graph.model("net", {"input": ("N", 3, config.input, config.input)}, {"logits": ("N", *table[-1].out_shape)})


def _conv(graph: Graph, layer: Layer, x: str, weights: Any) -> str:
    conv: Conv = layer.spec
    kernel, bias = _parameters(graph, layer.name, weights)
    before, behind = conv.pad
    pads = [before, before, behind, behind]
    stride = [conv.stride] * 2
    return graph.node(
        "Conv",
        layer.name,
        x,
        kernel,
        bias,
        kernel_shape=[conv.kernel] * 2,
        strides=stride,
        pads=pads,
        group=conv.groups,
    )


def _fc(graph: Graph, layer: Layer, x: str, weights: Any) -> str:
    fc: Linear = layer.spec
    if fc.groups > 1:
        return _fc_groups(graph, layer, x, weights)
    flat = graph.node("Flatten", f"{layer.name}.flat", x, axis=1) if len(layer.in_shape) > 1 else x
    if not fc.rank:
        return graph.node("Gemm", layer.name, flat, *_parameters(graph, layer.name, weights), transB=1)
    down = graph.constant(f"{layer.name}.down.weight", weights[f"{layer.name}.down.weight"])
    thin = graph.node("Gemm", f"{layer.name}.down", flat, down, transB=1)
    return graph.node("Gemm", layer.name, thin, *_parameters(graph, f"{layer.name}.up", weights), transB=1)


def _fc_groups(graph: Graph, layer: Layer, x: str, weights: Any) -> str:
    """A product for each column: [N,inputs] -> [groups,N,inputs/groups] @ [groups,inputs/groups,units/groups]."""
    groups, units = layer.spec.groups, layer.spec.units
    matrix, bias = weights[f"{layer.name}.weight"], graph.constant(f"{layer.name}.bias", weights[f"{layer.name}.bias"])
    matrices = graph.constant(f"{layer.name}.weight", matrix.reshape(groups, units // groups, -1).transpose(0, 2, 1))
    apart = graph.constant(f"{layer.name}.apart", np.array([-1, groups, matrix.shape[1]]))
    own = graph.node(
        "Transpose", f"{layer.name}.own", graph.node("Reshape", f"{layer.name}.columns", x, apart), perm=[1, 0, 2]
    )
    product = graph.node(
        "Transpose",
        f"{layer.name}.products",
        graph.node("MatMul", f"{layer.name}.matmul", own, matrices),
        perm=[1, 0, 2],
    )
    together = graph.constant(f"{layer.name}.together", np.array([-1, units]))
    return graph.node("Add", layer.name, graph.node("Reshape", f"{layer.name}.flat", product, together), bias)


def _lrn(graph: Graph, layer: Layer, x: str, weights: Any) -> str:
    lrn: LRN = layer.spec
    channels, height, width = layer.in_shape
    numbers = {"size": lrn.size, "alpha": lrn.alpha_each * lrn.size, "beta": lrn.beta, "bias": lrn.k}
    if lrn.groups == 1:
        return graph.node("LRN", layer.name, x, **numbers)
    apart = graph.constant(f"{layer.name}.apart", np.array([-1, channels // lrn.groups, height, width]))
    together = graph.constant(f"{layer.name}.together", np.array([-1, channels, height, width]))
    folded = graph.node("Reshape", f"{layer.name}.columns", x, apart)
    normed = graph.node("LRN", f"{layer.name}.norm", folded, **numbers)
    return graph.node("Reshape", layer.name, normed, together)


def _samemap(graph: Graph, layer: Layer, x: str, weights: Any) -> str:
    norm: WithinMapLRN = layer.spec
    window, pad = [norm.size] * 2, [norm.size // 2] * 4
    square = graph.node("Mul", f"{layer.name}.square", x, x)
    mean = graph.node("AveragePool", f"{layer.name}.mean", square, kernel_shape=window, pads=pad, count_include_pad=1)
    scaled = graph.node(
        "Mul", f"{layer.name}.scaled", mean, graph.constant(f"{layer.name}.alpha", np.array(norm.alpha, np.float32))
    )
    scale = graph.node(
        "Add", f"{layer.name}.scale", scaled, graph.constant(f"{layer.name}.k", np.array(norm.k, np.float32))
    )
    power = graph.node(
        "Pow", f"{layer.name}.power", scale, graph.constant(f"{layer.name}.beta", np.array(norm.beta, np.float32))
    )
    return graph.node("Div", layer.name, x, power)


def _pool(graph: Graph, layer: Layer, x: str, weights: Any) -> str:
    pool: Pool = layer.spec
    return graph.node("MaxPool", layer.name, x, kernel_shape=[pool.size] * 2, strides=[pool.stride] * 2, ceil_mode=1)


def _dropout(graph: Graph, layer: Layer, x: str, weights: Any) -> str:
    dropout: Dropout = layer.spec  # at test all neurons, times 1 - p (section 4.2)
    return graph.node("Mul", layer.name, x, graph.constant(f"{layer.name}.keep", np.array(1 - dropout.p, np.float32)))


def _parameters(graph: Graph, name: str, weights: Any) -> tuple[str, str]:
    return tuple(graph.constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))  # type: ignore[return-value]


EMITTERS: dict[str, Callable[[Graph, Layer, str, Any], str]] = {
    "conv": _conv,
    "fc": _fc,
    "relu": lambda graph, layer, x, _: graph.node("Relu", layer.name, x),
    "tanh": lambda graph, layer, x, _: graph.node("Tanh", layer.name, x),
    "lrn": _lrn,
    "samemap": _samemap,
    "pool": _pool,
    "dropout": _dropout,
}
