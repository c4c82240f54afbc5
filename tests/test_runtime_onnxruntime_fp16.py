"""runtime/onnxruntime_fp16.py: what becomes fp16, what stays fp32, and that the answers stay within the tolerance."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from tencrop.model.embedded import EMBEDDED
from tencrop.model.probe import formula_image
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.engine_choice import EngineChoice
from tencrop.runtime.onnxruntime_engine import OnnxRuntimeEngine
from tencrop.runtime.onnxruntime_fp16 import convert_to_fp16

CPU = EngineChoice("onnxruntime", "cpu", "fp32")


@pytest.fixture(scope="module")
def file() -> TenCropFile:
    return TenCropFile.read(EMBEDDED)


@pytest.fixture(scope="module")
def converted(file: TenCropFile) -> bytes:
    return convert_to_fp16(file.graph)


def input_types(graph: bytes) -> dict[str, set[int]]:
    """The types of the floating-point inputs of each kind of node."""
    model = onnx.load_model_from_string(graph)
    onnx.checker.check_model(model)
    inferred = shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    found: dict[str, set[int]] = {}
    for node in inferred.node:
        found.setdefault(node.op_type, set()).update(types[name] for name in node.input)
    return {kind: each & {TensorProto.FLOAT, TensorProto.FLOAT16} for kind, each in found.items()}


def test_products_are_fp16_and_norms_softmax_and_means_stay_fp32(converted: bytes) -> None:
    types = input_types(converted)
    assert [types[kind] for kind in ("Conv", "Gemm")] == [{TensorProto.FLOAT16}] * 2
    for kind in ("LRN", "Softmax", "ReduceMean", "Sub"):
        assert types[kind] == {TensorProto.FLOAT}


def test_probabilities_are_never_rounded_to_fp16(converted: bytes) -> None:
    nodes = onnx.load_model_from_string(converted).graph.node
    behind = list(nodes)[[node.op_type for node in nodes].index("Softmax") :]
    assert "Cast" not in {node.op_type for node in behind}


def test_fp16_weights_are_used_as_they_are_stored(file: TenCropFile, converted: bytes) -> None:
    before, after = (onnx.load_model_from_string(graph).graph.node for graph in (file.graph, converted))
    assert sum("weight" in node.output[0] for node in before if node.op_type == "Cast") == 10
    assert not any("weight" in node.output[0] for node in after if node.op_type == "Cast")


def test_the_converted_graph_reproduces_the_probe(file: TenCropFile, converted: bytes) -> None:
    """On the CPU, whose kernels compute in fp32 on values that are rounded to fp16."""
    engine = OnnxRuntimeEngine(converted, CPU)
    engine.precision = "fp16"  # the tolerance
    with Classifier(file, engine) as classifier:
        classifier.check_probe()


def test_rounding_happens_and_stays_small(classifier: Classifier, file: TenCropFile, converted: bytes) -> None:
    image = formula_image(3, 256, 256)[None]
    exact = classifier.forward(image)[0]
    rounded = OnnxRuntimeEngine(converted, CPU).run(image)["probabilities"]
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 5e-3


def test_each_value_is_rounded_where_it_is_made() -> None:
    """By onnx's own evaluator: onnxruntime's CPU leaves out the rounding between two nodes that it computes in fp32."""
    x, w = np.array([[0.1, 0.9]], np.float32), np.array([[1 / 3], [2 / 3]], np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Sub", ["y", "one"], ["z"])]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("y", "z")],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    converted = onnx.load_model_from_string(convert_to_fp16(model.SerializeToString()))
    y, z = map(np.asarray, ReferenceEvaluator(converted).run(None, {"x": x}))
    product = x.astype(np.float16) @ w.astype(np.float16)
    assert y.dtype == z.dtype == np.float32
    assert y == product != x @ w
    assert z == product.astype(np.float32) - 1  # not rounded to fp16 again
