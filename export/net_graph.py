"""Writes net.onnx from a checkpoint: each layer of the layer table as standard ONNX nodes, from float crop to logits.

The graph is written from the table and not traced from the torch net. The parity gate thus compares two readings of one
recipe, and no leftovers of a tracer (stack traces, paths, shape arithmetic) can be in the file.
"""

from collections.abc import Callable, Mapping

import numpy as np
import onnx

from tencrop.export.graph_builder import GraphBuilder
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.layer_table import Layer, layer_table
from tencrop.model.net_config import LRN, Conv, Dropout, Linear, Pool, WithinMapLRN

Weights = Mapping[str, np.ndarray]


def build_net_graph(checkpoint: Checkpoint) -> onnx.ModelProto:
    """`input` float32 [N,3,crop,crop], mean subtracted -> `logits` float32 [N,C]."""
    graph, value, config = GraphBuilder(), "input", checkpoint.net
    table = list(layer_table(config))
    for layer in table:
        value = EMITTERS[layer.op](graph, layer, value, checkpoint.weights)
    graph.add_node("Identity", "logits", value)
    return graph.build("net", {"input": ("N", 3, config.input, config.input)}, {"logits": ("N", *table[-1].out_shape)})


def _add_scale(graph: GraphBuilder, layer: Layer, x: str, weights: Weights) -> str:
    factors = np.array(layer.spec, np.float32)[:, None, None]
    return graph.add_node("Mul", layer.name, x, graph.add_constant(f"{layer.name}.factors", factors))


def _add_conv(graph: GraphBuilder, layer: Layer, x: str, weights: Weights) -> str:
    conv: Conv = layer.spec
    before, behind = conv.pad
    attributes = {
        "kernel_shape": [conv.kernel] * 2,
        "strides": [conv.stride] * 2,
        "pads": [before, before, behind, behind],
        "group": conv.groups,
    }
    return graph.add_node("Conv", layer.name, x, *_add_parameters(graph, layer.name, weights), **attributes)


def _add_fc(graph: GraphBuilder, layer: Layer, x: str, weights: Weights) -> str:
    fc: Linear = layer.spec
    if fc.groups > 1:
        return _add_fc_groups(graph, layer, x, weights)
    flat = graph.add_node("Flatten", f"{layer.name}.flat", x, axis=1) if len(layer.in_shape) > 1 else x
    if not fc.rank:
        return graph.add_node("Gemm", layer.name, flat, *_add_parameters(graph, layer.name, weights), transB=1)
    down = graph.add_constant(f"{layer.name}.down.weight", weights[f"{layer.name}.down.weight"])
    thin = graph.add_node("Gemm", f"{layer.name}.down", flat, down, transB=1)
    return graph.add_node("Gemm", layer.name, thin, *_add_parameters(graph, f"{layer.name}.up", weights), transB=1)


def _add_fc_groups(graph: GraphBuilder, layer: Layer, x: str, weights: Weights) -> str:
    """Add one product a group: [N,inputs] -> [groups,N,inputs/groups] @ [groups,inputs/groups,units/groups]."""
    name, groups, units = layer.name, layer.spec.groups, layer.spec.units
    matrix, bias = weights[f"{name}.weight"], graph.add_constant(f"{name}.bias", weights[f"{name}.bias"])
    matrices = graph.add_constant(f"{name}.weight", matrix.reshape(groups, units // groups, -1).transpose(0, 2, 1))
    apart = graph.add_constant(f"{name}.apart", np.array([-1, groups, matrix.shape[1]]))
    columns = graph.add_node("Reshape", f"{name}.columns", x, apart)
    own = graph.add_node("Transpose", f"{name}.own", columns, perm=[1, 0, 2])
    product = graph.add_node("MatMul", f"{name}.matmul", own, matrices)
    products = graph.add_node("Transpose", f"{name}.products", product, perm=[1, 0, 2])
    together = graph.add_constant(f"{name}.together", np.array([-1, units]))
    return graph.add_node("Add", name, graph.add_node("Reshape", f"{name}.flat", products, together), bias)


def _add_lrn(graph: GraphBuilder, layer: Layer, x: str, weights: Weights) -> str:
    lrn: LRN = layer.spec
    channels = layer.in_shape[0]
    numbers = {"size": lrn.size, "alpha": lrn.alpha_each * lrn.size, "beta": lrn.beta, "bias": lrn.k}
    if lrn.groups == 1:
        return graph.add_node("LRN", layer.name, x, **numbers)
    apart = graph.add_constant(f"{layer.name}.apart", np.array([-1, channels // lrn.groups, 0, 0]))
    together = graph.add_constant(f"{layer.name}.together", np.array([-1, channels, 0, 0]))
    folded = graph.add_node("Reshape", f"{layer.name}.columns", x, apart)
    normed = graph.add_node("LRN", f"{layer.name}.norm", folded, **numbers)
    return graph.add_node("Reshape", layer.name, normed, together)


def _add_within_map_lrn(graph: GraphBuilder, layer: Layer, x: str, weights: Weights) -> str:
    norm: WithinMapLRN = layer.spec
    window = {"kernel_shape": [norm.size] * 2, "pads": [norm.size // 2] * 4}
    square = graph.add_node("Mul", f"{layer.name}.square", x, x)
    mean = graph.add_node("AveragePool", f"{layer.name}.mean", square, **window, count_include_pad=1)

    def add_constant(name: str, value: float) -> str:
        return graph.add_constant(f"{layer.name}.{name}", np.array(value, np.float32))

    scaled = graph.add_node("Mul", f"{layer.name}.scaled", mean, add_constant("alpha", norm.alpha))
    scale = graph.add_node("Add", f"{layer.name}.scale", scaled, add_constant("k", norm.k))
    power = graph.add_node("Pow", f"{layer.name}.power", scale, add_constant("beta", norm.beta))
    return graph.add_node("Div", layer.name, x, power)


def _add_pool(graph: GraphBuilder, layer: Layer, x: str, weights: Weights) -> str:
    pool: Pool = layer.spec
    window = {"kernel_shape": [pool.size] * 2, "strides": [pool.stride] * 2}
    return graph.add_node("MaxPool", layer.name, x, **window, ceil_mode=int(layer.op == "pool"))


def _add_dropout(graph: GraphBuilder, layer: Layer, x: str, weights: Weights) -> str:
    dropout: Dropout = layer.spec  # at test all neurons, times 1 - p (section 4.2)
    if dropout.inverted:
        return x
    return graph.add_node(
        "Mul", layer.name, x, graph.add_constant(f"{layer.name}.keep", np.array(1 - dropout.p, np.float32))
    )


def _add_parameters(graph: GraphBuilder, name: str, weights: Weights) -> tuple[str, str]:
    weight, bias = (graph.add_constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    return weight, bias


EMITTERS: dict[str, Callable[[GraphBuilder, Layer, str, Weights], str]] = {
    "scale": _add_scale,
    "conv": _add_conv,
    "fc": _add_fc,
    "relu": lambda graph, layer, x, _: graph.add_node("Relu", layer.name, x),
    "tanh": lambda graph, layer, x, _: graph.add_node("Tanh", layer.name, x),
    "lrn": _add_lrn,
    "samemap": _add_within_map_lrn,
    "pool": _add_pool,
    "pooldown": _add_pool,
    "dropout": _add_dropout,
}
