"""model/tencropfile.py: a missing, truncated or foreign tencrop.onnx is refused in one line that names it."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tencrop.common.errors import BadInput
from tencrop.model.embedded import EMBEDDED
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

FILE = EMBEDDED / "tencrop.onnx"
FP32 = EngineOptions("cpu", "auto", "fp32")


def test_metadata_survives_the_round_trip() -> None:
    metadata = TenCropFile.read(FILE).metadata
    exported = replace(metadata, calibration=None)  # `tencrop calibrate` adds it
    assert type(metadata).from_props(metadata.to_props(), "test") == exported
    assert len(metadata.contract.labels) == 101 and metadata.filter_picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("keep", [0, 1, 1000, 1_000_000, -1])
def test_truncated_file_is_refused(keep: int, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(FILE.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"cut\.onnx: not an ONNX file"):
        open_classifier(cut, FP32)


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100), b'{"json": 1}'])
def test_file_that_is_not_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(content)
    with pytest.raises(BadInput, match=r"no\.onnx: not an ONNX file"):
        TenCropFile.read(tmp_path / "no.onnx")


@pytest.mark.parametrize("place", ["checkpoint.json", "checkpoint-0003/checkpoint.json"])
def test_a_training_is_told_to_be_exported_first(place: str, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("{}")
    with pytest.raises(BadInput) as refused:
        TenCropFile.read(tmp_path)
    assert refused.value.advice == f"export it first: tencrop export {tmp_path} OUT"


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read .*; name a tencrop\.onnx or its folder"):
        TenCropFile.read(tmp_path / "none.onnx")


def change_metadata(tmp_path: Path, **metadata: str) -> Path:
    model = onnx.load(FILE)
    for entry in model.metadata_props:
        entry.value = metadata.get(entry.key.removeprefix("tencrop."), entry.value)
    onnx.save(model, tmp_path / "changed.onnx")
    return tmp_path / "changed.onnx"


def test_label_count_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="its contract and 1 labels want"):
        TenCropFile.read(change_metadata(tmp_path, labels='[{"id": "a", "name": "a"}]'))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("contract", '{"zoom": 2}'),
        ("contract", "[]"),
        ("recipe", '{"expect": 3}'),
        ("recipe", '{"expect": [{"top1": 40.7, "top5": 18.2}]}'),
        ("contract", '{"resize": 128}'),
        ("probe", "[]"),
        ("probe", '{"seed": -1, "classes": [0], "probabilities": [1.0]}'),
        ("probe", '{"seed": 0, "classes": [], "probabilities": []}'),
        ("probe", '{"seed": 0, "classes": [101], "probabilities": [1.0]}'),
        ("labels", "{"),
        ("kernels", "%"),
    ],
)
def test_damaged_metadata_is_refused(key: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"changed\.onnx"):
        TenCropFile.read(change_metadata(tmp_path, **{key: value}))


def test_graph_of_other_inputs_is_refused(tmp_path: Path) -> None:
    model = onnx.load(FILE)
    model.graph.input[0].name = "pictures"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(BadInput, match="has pictures"):
        TenCropFile.read(tmp_path / "other.onnx")


def test_graph_of_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    model = onnx.load(FILE)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")
    with pytest.raises(BadInput, match=r"images \[1, 256"):
        TenCropFile.read(tmp_path / "fixed.onnx")
