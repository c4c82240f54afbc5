"""export/graph_builder.py: a graph is valid, and means the same, in the opset of any net that it stands around."""

import numpy as np
import onnx
import onnxruntime
import pytest

from tencrop.export.graph_builder import GraphBuilder, read_opset


@pytest.mark.parametrize(("opset", "ir"), [(17, 8), (18, 8), (20, 9), (21, 10)])
def test_a_mean_is_right_and_the_ir_the_oldest_in_every_opset(opset: int, ir: int) -> None:
    graph = GraphBuilder(opset)
    graph.add_mean("y", "x", axis=1)
    model = graph.build("mean", {"x": ("N", 3, 2)}, {"y": ("N", 2)})
    assert (read_opset(model), model.ir_version) == (opset, ir)
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], [[2, 3], [8, 9]])


def test_the_opset_is_that_of_onnx_and_not_of_another_domain() -> None:
    others = [onnx.helper.make_opsetid("ai.onnx.ml", 3), onnx.helper.make_opsetid("ai.onnx", 13)]
    empty = onnx.helper.make_graph([], "empty", [], [])
    assert read_opset(onnx.helper.make_model(empty, opset_imports=others)) == 13
