"""export/bf16_estimate.py: the roundings of bf16 are those of numpy's bits, and a file that they move prefers fp32."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from tencrop.common.errors import BadInput
from tencrop.export.bf16_estimate import estimate_bf16, round_to_bf16
from tencrop.model.embedded import EMBEDDED
from tencrop.model.tencropfile import Metadata, TenCropFile
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

VALUES = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
PIXELS = np.random.default_rng(1).integers(0, 256, (3, 1, 2, 3), np.uint8)


def build() -> onnx.ModelProto:
    """probabilities = (pixels / 3) @ VALUES.T: a product of values that bf16 rounds."""
    text = """<ir_version: 8, opset_import: ["": 17]>
    net (uint8[N,1,2,3] images) => (float[N,5] probabilities) {
        to_row = Constant <value_ints = [-1, 6]> ()
        floats = Cast <to = 1> (images)
        three = Constant <value_float = 3.0> ()
        thirds = Div(floats, three)
        rows = Reshape(thirds, to_row)
        probabilities = Gemm <transB = 1> (rows, values)
    }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(VALUES, "values"))
    return model


def test_numbers_are_rounded_as_torch_rounds_them() -> None:
    values = np.concatenate([VALUES.ravel(), np.array([1 + 2**-8, 1 + 3 * 2**-8, 3e38, 0, -1e-40], np.float32)])
    np.testing.assert_array_equal(round_to_bf16(values), torch.from_numpy(values).bfloat16().float().numpy())


def test_the_values_before_a_product_are_rounded() -> None:
    rows = torch.from_numpy(PIXELS.reshape(3, 6)).float() / 3
    weights = torch.from_numpy(VALUES)
    exact, rounded = rows @ weights.T, rows.bfloat16().float() @ weights.bfloat16().float().T
    model = build()
    before = model.SerializeToString()
    found = estimate_bf16(model, PIXELS, exact.numpy())
    assert found == pytest.approx((rounded - exact).abs().max().item(), rel=1e-4) and found > 0.01
    assert model.SerializeToString() == before


def test_a_net_inside_a_loop_is_rounded_too() -> None:
    plain, model = build(), build()
    body = helper.make_graph(
        [helper.make_node("Gemm", ["row", "values"], ["scores"], transB=1)],
        "row",
        [helper.make_tensor_value_info("row", 1, [1, 6])],
        [helper.make_tensor_value_info("scores", 1, [1, 5])],
        [numpy_helper.from_array(VALUES, "values")],
    )
    shape = numpy_helper.from_array(np.array([-1, 1, 6]), "apart")
    flat = numpy_helper.from_array(np.array([-1, 5]), "together")
    del model.graph.node[-1], model.graph.initializer[:]
    model.graph.initializer.extend([shape, flat])
    model.graph.node.extend(
        [
            helper.make_node("Reshape", ["rows", "apart"], ["each"]),
            helper.make_node("Scan", ["each"], ["all"], body=body, num_scan_inputs=1),
            helper.make_node("Reshape", ["all", "together"], ["probabilities"]),
        ]
    )
    exact = (torch.from_numpy(PIXELS.reshape(3, 6)).float() / 3 @ torch.from_numpy(VALUES).T).numpy()
    looped, whole = estimate_bf16(model, PIXELS, exact), estimate_bf16(plain, PIXELS, exact)
    assert 0.2 * whole < looped < 2 * whole  # the weights are rounded; the rows before the loop are not


def test_auto_is_the_precision_that_the_file_prefers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = TenCropFile.read(EMBEDDED)
    model = onnx.load_model_from_string(file.graph)
    del model.metadata_props[:]
    metadata = replace(file.metadata, precision="fp32", calibration=None)
    helper.set_model_props(model, metadata.to_props())
    onnx.save(model, tmp_path / "tencrop.onnx")
    assert TenCropFile.read(tmp_path).metadata == metadata
    tried = []

    def note(graph: bytes, choice: object) -> None:
        tried.append(choice)
        raise SystemExit

    monkeypatch.setattr("tencrop.runtime.classifier.open_engine", note)
    for precision, path in (("auto", tmp_path), ("bf16", tmp_path), ("auto", EMBEDDED)):
        with pytest.raises(SystemExit):
            open_classifier(path, EngineOptions("cpu", "openvino", precision))
    assert [choice.precision for choice in tried] == ["fp32", "bf16", "auto"]  # type: ignore[attr-defined]


def test_an_unknown_preference_is_bad_input() -> None:
    props = TenCropFile.read(EMBEDDED).metadata.to_props()
    assert "tencrop.precision" not in props
    with pytest.raises(BadInput, match=r"here\.onnx: prefers the precision 'int4', expected fp32"):
        Metadata.from_props({**props, "tencrop.precision": "int4"}, "here.onnx")
