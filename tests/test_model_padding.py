"""model/padding.py: the same convolution, whatever its padding, stride and the image's size."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from model.padding import symmetric
from server import EMBEDDED

RANDOM = np.random.default_rng(227)


def convolution(side: int, pads: list[int], stride: int, kernel: int) -> bytes:
    """Two images' worth of 3 maps to 4."""
    weights = numpy_helper.from_array(RANDOM.normal(size=(4, 3, kernel, kernel)).astype(np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=pads, strides=[stride, stride])
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, side, side + 1])
    graph = helper.make_graph(
        [node, helper.make_node("Relu", ["y"], ["z"])], "g", [image], [helper.make_tensor_value_info("z", 1, None)], [weights]
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString())


def run(graph: bytes, **inputs: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(value) for value in onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, inputs)]


def pads_of(graph: bytes) -> list[list[int]]:
    nodes = onnx.load_model_from_string(graph).graph.node
    return [list(a.ints) for node in nodes if node.op_type == "Conv" for a in node.attribute if a.name == "pads"]


@pytest.mark.parametrize("side", range(20, 25))  # each remainder by the stride
@pytest.mark.parametrize(
    ("pads", "stride", "kernel"), [([0, 0, 3, 3], 4, 11), ([1, 0, 0, 3], 2, 3), ([2, 0, 0, 1], 1, 5), ([0, 5, 7, 0], 3, 4)]
)
def test_uneven_padding_becomes_even_and_the_answer_stays(side: int, pads: list[int], stride: int, kernel: int) -> None:
    graph = convolution(side, pads, stride, kernel)
    even = symmetric(graph)
    ((top, left, bottom, right),) = pads_of(even)
    assert (top, left) == (bottom, right)
    x = RANDOM.normal(size=(2, 3, side, side + 1)).astype(np.float32)
    (want,), (got,) = run(graph, x=x), run(even, x=x)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_even_padding_is_left_alone() -> None:
    graph = convolution(20, [2, 1, 2, 1], 2, 3)
    assert symmetric(graph) == graph


def test_an_image_of_unknown_size_is_left_alone() -> None:
    model = onnx.load_model_from_string(convolution(20, [0, 0, 3, 3], 4, 11))
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"
    assert pads_of(symmetric(model.SerializeToString())) == [[0, 0, 3, 3]]


def test_the_embedded_models_answers_stay() -> None:
    graph = (EMBEDDED / "tencrop.onnx").read_bytes()
    assert any(pads[:2] != pads[2:] for pads in pads_of(graph))
    even = symmetric(graph)
    assert all(pads[:2] == pads[2:] for pads in pads_of(even))
    images = RANDOM.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    for got, want in zip(run(even, images=images), run(graph, images=images), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
