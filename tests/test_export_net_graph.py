"""export/net_graph.py: net.onnx has standard nodes with the recipe's numbers, in one file without leftovers."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto

from tencrop.common.strict_config import dump
from tencrop.export.net_graph import build_net_graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.net import AlexNet
from tencrop.training.recipe import load


def test_net_has_lrn_nodes_with_the_numbers_of_the_paper(embedded: Checkpoint) -> None:
    norms = [node for node in build_net_graph(embedded).graph.node if node.op_type == "LRN"]
    numbers = [{a.name: round(onnx.helper.get_attribute_value(a), 7) for a in norm.attribute} for norm in norms]
    assert numbers == [{"alpha": 1e-4, "beta": 0.75, "bias": 2.0, "size": 5}] * 2


def test_columns_of_source145_are_folded_into_the_batch(source145: Checkpoint) -> None:
    model = build_net_graph(source145)
    found = Counter(node.op_type for node in model.graph.node)
    assert found["LRN"] == 2 and found["Reshape"] == 4 and found["AveragePool"] == 1
    assert not {"Dropout", "Shape", "Size", "NonZero"} & set(found)


def test_file_holds_no_traces(embedded: Checkpoint) -> None:
    model = build_net_graph(embedded)
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert all(value.data_location == TensorProto.DEFAULT for value in model.graph.initializer)
    assert [i.name for i in model.graph.input] == ["input"] and [o.name for o in model.graph.output] == ["logits"]


def test_columns_without_communication_equal_torch_on_onnxruntime(source145: Checkpoint) -> None:
    net = load("no_communication").net
    net = replace(
        net, input=99, fc6=replace(net.fc6, units=64), fc7=replace(net.fc7, units=48), fc8=replace(net.fc8, units=10)
    )
    random = np.random.default_rng(150)
    shapes = {name: value.shape for name, value in AlexNet(net).weights().items()}
    weights = {
        name: random.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32) for name, shape in shapes.items()
    }
    model = build_net_graph(
        Checkpoint({"net": dump(net), "mean": "center"}, source145.contract, source145.statistics, weights)
    )
    assert Counter(node.op_type for node in model.graph.node)["MatMul"] == 2  # fc6 and fc7; fc8 sees both columns
    x = random.normal(0, 60, (3, 3, 99, 99)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = AlexNet.from_weights(net, weights)(torch.from_numpy(x)).numpy()
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(
        session.run(None, {"input": x})[0], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )
