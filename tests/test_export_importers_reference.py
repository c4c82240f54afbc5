"""importers/reference.py: an import is compared with the unmodified file, and a refusal states the reason."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.tiny_source import CLASSES, CROP, RESIZE, TinySource

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.export.importers import run
from tencrop.export.importers import source_to_net as classifier
from tencrop.export.importers.graph_rewrite import find_rounding_operator, find_squashing_operator
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.reference import detect_output_kind
from tencrop.export.importers.run import import_net
from tencrop.export.importers.source_net import SourceNet
from tencrop.export.importers.source_to_net import ConvertedNet
from tencrop.export.parity_gate import Limits
from tencrop.export.tencrop_graph import build_tencrop_graph
from tencrop.model.contract import Contract
from tencrop.runtime.onnxruntime_lrn import decompose_lrn


@pytest.mark.parametrize("wrong", ["mean", "views", "net"])
def test_import_that_differs_from_the_source_is_refused(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, convert_to_net = build_tencrop_graph, classifier.convert_to_net

    def build_wrong_graph(net: onnx.ModelProto, contract: Contract, mean: np.ndarray) -> onnx.ModelProto:
        made = true(net, contract, mean * 1.01 if wrong == "mean" else mean)
        if wrong == "views":
            ends = next(value for value in made.graph.initializer if value.name == "tencrop/view1.starts")
            ends.CopyFrom(numpy_helper.from_array(np.array([0, 4]), ends.name))
            ends = next(value for value in made.graph.initializer if value.name == "tencrop/view1.ends")
            ends.CopyFrom(numpy_helper.from_array(np.array([CROP, CROP + 4]), ends.name))
        return made

    def convert_wrongly(*arguments: Any) -> ConvertedNet:
        made = convert_to_net(*arguments)
        if wrong == "net":
            next(node for node in made.model.graph.node if node.op_type == "Relu").op_type = "Tanh"
        return made

    monkeypatch.setattr(run, "build_tencrop_graph", build_wrong_graph)
    monkeypatch.setattr(run, "convert_to_net", convert_wrongly)
    with pytest.raises(WorkFailed, match="differs from"):
        import_net(TinySource().save(tmp_path / "net.onnx"), tmp_path / "out", InputConvention(resize=RESIZE), None)
    assert not (tmp_path / "out").exists()


def append_nodes(*nodes: onnx.NodeProto, net: TinySource | None = None) -> onnx.ModelProto:
    """A tiny net with nodes behind its output."""
    model = (net or TinySource()).model()
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(100, np.float32), "hundred"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(1 / 255, np.float32), "step"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.uint8), "zero"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [1, CLASSES]))
    return model


PERCENT = helper.make_node("Mul", ["answer", "hundred"], ["percent"])
EIGHT_BITS = (
    helper.make_node("QuantizeLinear", ["answer", "step", "zero"], ["bits"]),
    helper.make_node("DequantizeLinear", ["bits", "step", "zero"], ["steps"]),
)
SIGMOID = helper.make_node("Sigmoid", ["scores"], ["each"])
RELU = helper.make_node("Relu", ["scores"], ["active"])
EXP = np.exp(np.random.default_rng(0).normal(size=(5, 10, CLASSES)))
CERTAIN = EXP / EXP.sum(-1, keepdims=True)
NEITHER = {
    "percent": (append_nodes(PERCENT), 100 * CERTAIN, "come out of a Softmax and add up to 100 .. 100"),
    "8 bits": (append_nodes(*EIGHT_BITS), np.round(CERTAIN * 255) / 255, "come out of a Softmax and add up to 0.9"),
    "a sigmoid": (append_nodes(SIGMOID, net=TinySource(end="logits")), EXP / (1 + EXP), "come out of a Sigmoid"),
}


@pytest.mark.parametrize("what", NEITHER)
def test_scores_that_are_neither_logits_nor_probabilities_need_the_flag_output(
    what: str,
) -> None:
    model, scores, message = NEITHER[what]
    source = SourceNet(Path("net.onnx"), "ONNX", model)
    with pytest.raises(BadInput, match=message):
        detect_output_kind(scores, None, source)
    with pytest.raises(BadInput, match="and not to 1: they are no probabilities"):
        detect_output_kind(scores, "probabilities", source)
    assert detect_output_kind(scores, "logits", source) == "logits"


def test_scores_that_are_no_numbers_are_one_line() -> None:
    source = SourceNet(Path("net.onnx"), "ONNX", TinySource().model())
    with pytest.raises(BadInput, match="answers with values that are no numbers"):
        detect_output_kind(np.array([[np.inf, -np.inf]]), None, source)


def test_positive_scores_are_logits() -> None:
    source = SourceNet(Path("net.onnx"), "ONNX", append_nodes(RELU, net=TinySource(end="logits")))
    assert (
        detect_output_kind(EXP, None, source) == "logits"
        and find_squashing_operator(TinySource(end="logits").model()) is None
    )


def test_squashing_before_the_last_weights_is_ignored() -> None:
    model = TinySource(end="logits").model()
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Sigmoid"
    assert find_squashing_operator(model) is None


def test_refusal_of_a_net_that_rounds_names_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TinySource(end="logits").model()
    model.graph.node[0].output[0] = "exact"
    model.graph.node.insert(1, helper.make_node("DynamicQuantizeLinear", ["exact"], ["bits", "scale", "point"]))
    model.graph.node.insert(2, helper.make_node("DequantizeLinear", ["bits", "scale", "point"], ["maps"]))
    onnx.save(model, tmp_path / "net.onnx")
    monkeypatch.setattr(run, "EXACT_LIMITS", Limits(-1.0, -1.0))  # no difference passes
    with pytest.raises(WorkFailed, match=r"rounds to 8 or 16 bits \(DynamicQuantizeLinear\)"):
        import_net(tmp_path / "net.onnx", tmp_path / "out", InputConvention(resize=RESIZE), None)


def test_weights_stored_in_fewer_bits_do_not_count_as_rounding() -> None:
    stored = helper.make_node("Cast", ["half"], ["whole"], to=TensorProto.FLOAT)
    assert find_rounding_operator(append_nodes(stored, EIGHT_BITS[1])) is None
    assert (
        find_rounding_operator(append_nodes(helper.make_node("Cast", ["answer"], ["half"], to=TensorProto.FLOAT16)))
        == "Cast"
    )


def test_reference_runs_the_file_s_own_lrn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TinySource().model()
    model.graph.node[1].output[0] = "rectified"
    model.graph.node.insert(2, helper.make_node("LRN", ["rectified"], ["active"], size=5, alpha=5.0))
    onnx.save(model, tmp_path / "net.onnx")
    wrong = onnx.ModelProto()

    def double_alpha(graph: bytes) -> bytes:
        wrong.ParseFromString(graph)
        for attribute in (a for node in wrong.graph.node for a in node.attribute if a.name == "alpha"):
            attribute.f *= 2
        return decompose_lrn(wrong.SerializeToString())

    # The engine rewrites the LRN of both files; the reference does not.
    monkeypatch.setattr("tencrop.runtime.onnxruntime_engine.decompose_lrn", double_alpha)
    with pytest.raises(WorkFailed, match="onnxruntime at batch 1"):
        import_net(tmp_path / "net.onnx", tmp_path / "out", InputConvention(resize=RESIZE), None)
