"""export/describe_file.py: a description states the file's own numbers, labels and metadata."""

import json
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.export.describe_file import describe_file, format_description
from tencrop.export.net_graph import build_net_graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED


def test_embedded_file_is_described_with_contract_labels_recipe_parity_and_size(embedded: Checkpoint) -> None:
    found = describe_file(EMBEDDED)
    assert found["kind"] == "tencrop.onnx"
    assert found["bytes"] == (EMBEDDED / "tencrop.onnx").stat().st_size
    assert found["inputs"] == {"images": "uint8 [N, 256, 256, 3]"}
    assert found["outputs"] == {"probabilities": "float [N, 101]", "view_probabilities": "float [N, 10, 101]"}
    assert (found["classes"], found["contract"]["crop"]) == (101, 224)
    assert found["labels"][50] == "helicopter: helicopter"
    assert found["recipe"]["name"] == "caltech101_compact"
    assert found["parameters"] == sum(value.size for value in embedded.weights.values())
    assert 0 < found["parity"]["worst"]["logits_relative"] < 1e-4


def test_checkpoint_and_its_export_have_the_same_labels_and_parameters() -> None:
    found, exported = describe_file(EMBEDDED / "checkpoint"), describe_file(EMBEDDED)
    assert found["kind"] == "checkpoint"
    assert found["sha256"] == exported["checkpoint_sha256"]
    assert [found[key] for key in ("labels", "parameters")] == [exported[key] for key in ("labels", "parameters")]
    decode = {"jpeg_scale_from": 1024, "icc_profile": "srgb"}  # of new files
    assert exported["contract"] == found["contract"] | {"decode": decode}


def test_foreign_onnx_file_is_described_by_its_graph(source145: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(build_net_graph(source145).SerializeToString())
    found = describe_file(tmp_path / "net.onnx")
    assert (found["kind"], found["opset"], found["lrn_nodes"]) == ("ONNX", 17, 2)
    assert found["inputs"] == {"input": "float [N, 3, 224, 224]"}
    assert found["parameters"] == sum(value.size for value in source145.weights.values())


def test_text_has_a_line_for_each_value() -> None:
    lines = list(format_description(describe_file(EMBEDDED)))
    assert "  name: caltech101_compact" in lines
    assert "  helicopter: helicopter" in lines
    json.dumps(describe_file(EMBEDDED))  # plain data


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), (b"no graph", "not an ONNX file")])
def test_a_file_that_is_not_a_model_is_bad_input(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content:
        (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(BadInput, match=rf"x\.onnx: .*{message}"):
        describe_file(tmp_path / "x.onnx")
