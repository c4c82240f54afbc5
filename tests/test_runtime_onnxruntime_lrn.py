"""runtime/onnxruntime_lrn.py: the decomposed LRN equals LRN, also where onnxruntime's own kernel loses digits."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import oracles
import pytest
from onnx import TensorProto, helper

from tencrop.export.net_graph import build_net_graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.runtime.engine import open_engine
from tencrop.runtime.engine_choice import EngineChoice
from tencrop.runtime.onnxruntime_lrn import decompose_lrn

PAPER = {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 2.0}


def norm(numbers: Mapping[str, Any], maps: int | str = 8) -> bytes:
    """A file of one LRN; numbers that are not given are the standard's defaults."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", maps, 6, 6]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("LRN", ["x"], ["y"], name="norm", **numbers)], "norm", value[:1], value[1:]
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    )


def operators(graph: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_model_from_string(graph).graph.node]


def run(graph: bytes, x: np.ndarray) -> np.ndarray:
    """On onnxruntime alone, without our engine."""
    import onnxruntime as ort

    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("spread", [1.0, 300.0, 1e5])
def test_the_operators_compute_the_papers_norm_at_any_size_of_activations(spread: float) -> None:
    x = np.random.default_rng(0).normal(0, spread, (2, 8, 6, 6)).astype(np.float32)
    want: np.ndarray = oracles.lrn(x.astype(np.float64), 5, PAPER["alpha"] / 5, 0.75, 2.0, 1)
    np.testing.assert_allclose(run(decompose_lrn(norm(PAPER)), x), want, rtol=3e-6)


@pytest.mark.parametrize(
    "numbers",
    [{"size": 3}, {"size": 4, "alpha": 0.1}, {"size": 5, "beta": 0.5, "alpha": 1.0}, {"size": 1, "bias": 3.0}],
)
def test_other_windows_and_powers_are_the_standards(numbers: dict[str, float]) -> None:
    """An even window has one more map behind than before. https://onnx.ai/onnx/operators/onnx__LRN.html"""
    x = np.random.default_rng(1).normal(0, 2, (2, 8, 6, 6)).astype(np.float32)
    size, alpha, beta, k = (
        float(numbers.get(name, default))
        for name, default in (("size", 0), ("alpha", 1e-4), ("beta", 0.75), ("bias", 1))
    )
    first, last = math.floor((size - 1) / 2), math.ceil((size - 1) / 2)
    sums = np.stack([(x[:, max(0, c - first) : c + last + 1].astype(np.float64) ** 2).sum(1) for c in range(8)], 1)
    np.testing.assert_allclose(run(decompose_lrn(norm(numbers)), x), x / (k + alpha / size * sums) ** beta, rtol=1e-5)


def test_power_of_three_quarters_is_two_roots() -> None:
    assert operators(decompose_lrn(norm(PAPER))) == ["Mul", "Conv", "Sqrt", "Sqrt", "Mul", "Div"]
    assert operators(decompose_lrn(norm({"size": 5, "beta": 0.5}))) == ["Mul", "Conv", "Pow", "Div"]


def test_a_norm_over_maps_of_unknown_number_stays() -> None:
    assert operators(decompose_lrn(norm(PAPER, "C"))) == ["LRN"]


def test_a_norm_in_fp16_stays() -> None:
    model = onnx.load_model_from_string(norm(PAPER))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    assert operators(decompose_lrn(model.SerializeToString())) == ["LRN"]


def test_a_file_without_norms_stays_as_it_is() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    model = helper.make_model(graph).SerializeToString()
    assert decompose_lrn(model) == model


def test_both_norms_of_every_recipe_are_decomposed(source145: Checkpoint) -> None:
    graph = build_net_graph(source145).SerializeToString()
    assert operators(graph).count("LRN") == 2 and "LRN" not in operators(decompose_lrn(graph))


def test_the_engine_decomposes_norms(source145: Checkpoint) -> None:
    """At activations where onnxruntime's own LRN is off by more than 1e-3."""
    x = np.full((1, 8, 6, 6), 100, np.float32)
    x[:, 0] = 1e5
    want: np.ndarray = oracles.lrn(x.astype(np.float64), 5, PAPER["alpha"] / 5, 0.75, 2.0, 1)
    got = open_engine(norm(PAPER), EngineChoice("onnxruntime", "cpu", "fp32")).run(x)["y"]
    np.testing.assert_allclose(got, want, rtol=3e-6)
    assert np.abs(run(norm(PAPER), x) / want - 1).max() > 1e-3
