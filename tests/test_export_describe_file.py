"""export/describe_file.py: what it says of a file is what the file is."""

import json
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.export.describe_file import describe_file, format_description
from tencrop.export.net_graph import build_net_graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED


def test_the_embedded_file_tells_its_contract_labels_recipe_parity_and_size(embedded: Checkpoint) -> None:
    told = describe_file(EMBEDDED)
    assert told["kind"] == "tencrop.onnx"
    assert told["bytes"] == (EMBEDDED / "tencrop.onnx").stat().st_size
    assert told["inputs"] == {"images": "uint8 [N, 256, 256, 3]"}
    assert told["outputs"] == {"probabilities": "float [N, 101]", "view_probabilities": "float [N, 10, 101]"}
    assert (told["opset"], told["classes"], told["contract"]["crop"]) == (20, 101, 224)
    assert told["labels"][50] == "helicopter: helicopter"
    assert told["recipe"]["name"] == "caltech101_compact"
    assert told["parameters"] == sum(value.size for value in embedded.weights.values())
    assert 0 < told["parity"]["worst"]["logits_relative"] < 1e-4


def test_a_checkpoint_tells_the_same_contract_and_parameters() -> None:
    told, exported = describe_file(EMBEDDED / "checkpoint"), describe_file(EMBEDDED)
    assert told["kind"] == "checkpoint"
    assert told["sha256"] == exported["checkpoint_sha256"]
    assert [told[key] for key in ("contract", "labels", "parameters")] == [
        exported[key] for key in ("contract", "labels", "parameters")
    ]


def test_any_other_onnx_file_tells_its_graph(source145: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(build_net_graph(source145).SerializeToString())
    told = describe_file(tmp_path / "net.onnx")
    assert (told["kind"], told["lrn_nodes"], told["inputs"]) == ("ONNX", 2, {"input": "float [N, 3, 224, 224]"})
    assert told["parameters"] == sum(value.size for value in source145.weights.values())


def test_the_text_is_a_line_for_each_value() -> None:
    lines = list(format_description(describe_file(EMBEDDED)))
    assert "opset: 20" in lines
    assert "  name: caltech101_compact" in lines
    assert "  helicopter: helicopter" in lines
    json.dumps(describe_file(EMBEDDED))  # plain data


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"no graph", "not an ONNX file")])
def test_what_is_no_model_is_bad_input(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content:
        (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(BadInput, match=rf"x\.onnx: .*{said}"):
        describe_file(tmp_path / "x.onnx")
