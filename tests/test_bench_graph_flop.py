"""bench/graph_flop.py: products are counted as by hand, for one image, in floats and in int8."""

from math import prod

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from bench.graph_flop import count_gflop
from tencrop.common.errors import WorkFailed
from tencrop.export.graph_builder import GraphBuilder
from tencrop.export.net_graph import build_net_graph
from tencrop.export.tencrop_graph import build_tencrop_graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.model.layer_table import Layer, layer_table

GROUPED = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "group": 2}  # 9x9 -> 5x5


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def build_conv(is_int8: bool = False) -> onnx.ModelProto:
    graph, maps = GraphBuilder(), "x"
    if is_int8:
        scale = graph.add_constant("scale", np.array(0.1, np.float32))
        rounded = graph.add_node("QuantizeLinear", "x.int8", "x", scale)
        maps = graph.add_node("DequantizeLinear", "x.float", rounded, scale)
        stored = graph.add_constant("w", draw(6, 2, 3, 3).astype(np.int8))
        kernels = graph.add_node("DequantizeLinear", "w.float", stored, scale)
    else:
        kernels = graph.add_constant("w", draw(6, 2, 3, 3).astype(np.float16))  # behind a Cast
    normed = graph.add_node("LRN", "norm", graph.add_node("Conv", "conv", maps, kernels, **GROUPED), size=5)
    graph.add_node("MaxPool", "y", normed, kernel_shape=[3, 3])
    return graph.build("conv", {"x": ("N", 4, 9, 9)}, {"y": ("N", 6, 3, 3)})


def build_gemm() -> onnx.ModelProto:
    graph = GraphBuilder()
    graph.add_node("Gemm", "y", "x", graph.add_constant("w", draw(3, 7)), transB=1)
    return graph.build("gemm", {"x": ("N", 7)}, {"y": ("N", 3)})


def build_matmul() -> onnx.ModelProto:
    graph = GraphBuilder()
    graph.add_node("MatMul", "y", "x", graph.add_constant("w", draw(5, 7, 3)))
    return graph.build("matmul", {"x": ("N", 5, 2, 7)}, {"y": ("N", 5, 2, 3)})


@pytest.mark.parametrize(
    ("model", "flop"),
    [
        (build_conv(), 2 * (6 * 5 * 5) * (2 * 3 * 3)),
        (build_conv(is_int8=True), 2 * (6 * 5 * 5) * (2 * 3 * 3)),
        (build_gemm(), 2 * 3 * 7),
        (build_matmul(), 2 * (5 * 2 * 3) * 7),
    ],
    ids=["a convolution in groups", "the same in int8", "a transposed matrix", "five products"],
)
def test_a_product_is_counted_as_by_hand(model: onnx.ModelProto, flop: int) -> None:
    assert count_gflop(model) * 1e9 == pytest.approx(flop)


def test_a_transposed_first_factor_is_counted_alike() -> None:
    graph = GraphBuilder()
    turned = graph.add_node("Transpose", "turned", "x", perm=[1, 0])
    graph.add_node("Gemm", "y", turned, graph.add_constant("w", draw(7, 3)), transA=1)
    assert count_gflop(graph.build("gemm", {"x": ("N", 7)}, {"y": ("N", 3)})) * 1e9 == pytest.approx(2 * 3 * 7)


def test_a_product_of_unknown_size_is_an_error() -> None:
    graph = GraphBuilder()
    places = graph.add_node("Cast", "places", graph.add_node("NonZero", "found", "x"), to=TensorProto.FLOAT)
    graph.add_node("MatMul", "y", graph.add_constant("w", draw(3, 2)), places)
    with pytest.raises(WorkFailed, match="MatMul y: the shape of its input or output is not known"):
        count_gflop(graph.build("places", {"x": ("N", 7)}, {"y": (3, "M")}))


def count_multiply_adds(layer: Layer) -> int:
    spec, inputs = layer.spec, prod(layer.in_shape)
    if layer.op == "conv":
        return int(prod(layer.out_shape) * layer.in_shape[0] // spec.groups * spec.kernel**2)
    if layer.op == "fc":
        return int(spec.rank * (inputs + spec.units) if spec.rank else spec.units * inputs // spec.groups)
    return 0


def test_the_embedded_graph_is_counted_as_its_table_of_layers(embedded: Checkpoint) -> None:
    plain = build_tencrop_graph(build_net_graph(embedded), embedded.contract, embedded.mean, plain=True)
    each_view = sum(map(count_multiply_adds, layer_table(embedded.net)))
    assert count_gflop(plain) * 1e9 == pytest.approx(2 * 10 * each_view)
    shared = count_gflop(onnx.load(EMBEDDED / "tencrop.onnx"))
    assert 0.5 * count_gflop(plain) < shared < 0.95 * count_gflop(plain)
