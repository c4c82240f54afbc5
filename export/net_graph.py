"""checkpoint -> net.onnx: the rows of the net, each as standard ONNX nodes. Float crop in, logits out.

Written from the same table as the torch net and not traced from it, so that export/verify.py compares two readings of one
recipe; no tracer's leftovers (stack traces, paths, shape arithmetic) can be in the file.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from tencrop.export.graph_builder import Graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.net_config import LRN, Conv, Dropout, Linear, Pool, Row, SameMap, rows


def net_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    """`input` float32 [N,3,crop,crop], mean subtracted -> `logits` float32 [N,C]."""
    graph = Graph()
    value = "input"
    config = checkpoint.net
    table = list(rows(config))
    for row in table:
        value = EMITTERS[row.op](graph, row, value, checkpoint.weights)
    graph.node("Identity", "logits", value)
    return graph.model("net", {"input": ("N", 3, config.input, config.input)}, {"logits": ("N", *table[-1].after)})


def _conv(graph: Graph, row: Row, x: str, weights: Any) -> str:
    conv: Conv = row.spec
    kernel, bias = _parameters(graph, row.name, weights)
    before, behind = conv.pad
    pads = [before, before, behind, behind]
    stride = [conv.stride] * 2
    return graph.node(
        "Conv", row.name, x, kernel, bias, kernel_shape=[conv.kernel] * 2, strides=stride, pads=pads, group=conv.columns
    )


def _fc(graph: Graph, row: Row, x: str, weights: Any) -> str:
    fc: Linear = row.spec
    if fc.columns > 1:
        return _fc_columns(graph, row, x, weights)
    flat = graph.node("Flatten", f"{row.name}.flat", x, axis=1) if len(row.before) > 1 else x
    if not fc.rank:
        return graph.node("Gemm", row.name, flat, *_parameters(graph, row.name, weights), transB=1)
    down = graph.constant(f"{row.name}.down.weight", weights[f"{row.name}.down.weight"])
    thin = graph.node("Gemm", f"{row.name}.down", flat, down, transB=1)
    return graph.node("Gemm", row.name, thin, *_parameters(graph, f"{row.name}.up", weights), transB=1)


def _fc_columns(graph: Graph, row: Row, x: str, weights: Any) -> str:
    """A product for each column: [N,inputs] -> [columns,N,inputs/columns] @ [columns,inputs/columns,units/columns]."""
    columns, units = row.spec.columns, row.spec.units
    matrix, bias = weights[f"{row.name}.weight"], graph.constant(f"{row.name}.bias", weights[f"{row.name}.bias"])
    matrices = graph.constant(f"{row.name}.weight", matrix.reshape(columns, units // columns, -1).transpose(0, 2, 1))
    apart = graph.constant(f"{row.name}.apart", np.array([-1, columns, matrix.shape[1]]))
    own = graph.node(
        "Transpose", f"{row.name}.own", graph.node("Reshape", f"{row.name}.columns", x, apart), perm=[1, 0, 2]
    )
    product = graph.node(
        "Transpose", f"{row.name}.products", graph.node("MatMul", f"{row.name}.matmul", own, matrices), perm=[1, 0, 2]
    )
    together = graph.constant(f"{row.name}.together", np.array([-1, units]))
    return graph.node("Add", row.name, graph.node("Reshape", f"{row.name}.flat", product, together), bias)


def _lrn(graph: Graph, row: Row, x: str, weights: Any) -> str:
    lrn: LRN = row.spec
    channels, height, width = row.before
    numbers = {"size": lrn.size, "alpha": lrn.alpha_each * lrn.size, "beta": lrn.beta, "bias": lrn.k}
    if lrn.columns == 1:
        return graph.node("LRN", row.name, x, **numbers)
    apart = graph.constant(f"{row.name}.apart", np.array([-1, channels // lrn.columns, height, width]))
    together = graph.constant(f"{row.name}.together", np.array([-1, channels, height, width]))
    folded = graph.node("Reshape", f"{row.name}.columns", x, apart)
    normed = graph.node("LRN", f"{row.name}.norm", folded, **numbers)
    return graph.node("Reshape", row.name, normed, together)


def _samemap(graph: Graph, row: Row, x: str, weights: Any) -> str:
    norm: SameMap = row.spec
    window, pad = [norm.size] * 2, [norm.size // 2] * 4
    square = graph.node("Mul", f"{row.name}.square", x, x)
    mean = graph.node("AveragePool", f"{row.name}.mean", square, kernel_shape=window, pads=pad, count_include_pad=1)
    scaled = graph.node(
        "Mul", f"{row.name}.scaled", mean, graph.constant(f"{row.name}.alpha", np.array(norm.alpha, np.float32))
    )
    scale = graph.node(
        "Add", f"{row.name}.scale", scaled, graph.constant(f"{row.name}.k", np.array(norm.k, np.float32))
    )
    power = graph.node(
        "Pow", f"{row.name}.power", scale, graph.constant(f"{row.name}.beta", np.array(norm.beta, np.float32))
    )
    return graph.node("Div", row.name, x, power)


def _pool(graph: Graph, row: Row, x: str, weights: Any) -> str:
    pool: Pool = row.spec
    return graph.node("MaxPool", row.name, x, kernel_shape=[pool.size] * 2, strides=[pool.stride] * 2, ceil_mode=1)


def _dropout(graph: Graph, row: Row, x: str, weights: Any) -> str:
    dropout: Dropout = row.spec  # at test all neurons, times 1 - p (section 4.2)
    return graph.node("Mul", row.name, x, graph.constant(f"{row.name}.keep", np.array(1 - dropout.p, np.float32)))


def _parameters(graph: Graph, layer: str, weights: Any) -> tuple[str, str]:
    return tuple(graph.constant(f"{layer}.{part}", weights[f"{layer}.{part}"]) for part in ("weight", "bias"))  # type: ignore[return-value]


EMITTERS: dict[str, Callable[[Graph, Row, str, Any], str]] = {
    "conv": _conv,
    "fc": _fc,
    "relu": lambda graph, row, x, _: graph.node("Relu", row.name, x),
    "tanh": lambda graph, row, x, _: graph.node("Tanh", row.name, x),
    "lrn": _lrn,
    "samemap": _samemap,
    "pool": _pool,
    "dropout": _dropout,
}
