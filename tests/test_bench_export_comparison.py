"""bench/export_comparison.py: each form's row says how many GFLOP an image takes."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from bench.export_comparison import describe_form, render_table


def test_a_row_says_how_many_gflop_an_image_takes(tmp_path: Path) -> None:
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 2500))
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 2000))
    weight = helper.make_tensor("w", TensorProto.FLOAT, (2500, 2000), bytes(4 * 2500 * 2000), raw=True)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "net", [taken], [given], [weight])
    onnx.save(helper.make_model(graph), tmp_path / "tencrop.onnx")
    (tmp_path / "parity.json").write_text(json.dumps({"compared": [{"logits_relative": 1e-6}]}))
    row = describe_form("shared", tmp_path, {"OpenVINO fp32": 30.0}, None)
    assert row["gflop_per_image"] == pytest.approx(0.01)
    head, _, line = (text.split(" | ") for text in render_table([row]).splitlines())
    assert line[head.index("GFLOP an image")] == "0.01"
