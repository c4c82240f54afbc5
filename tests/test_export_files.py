"""`tencrop export`: the files it writes are whole, agree with each other, and nothing is written when the gate refuses."""

import json
from pathlib import Path

import pytest

from export import files
from export.files import export
from model.checkpoint import Checkpoint
from model.classifier import open_classifier
from model.engine import EngineOptions
from model.errors import BadInput, WorkFailed
from model.tencropfile import TenCropFile
from tencrop import EMBEDDED


def test_exported_file_proves_itself_on_every_engine(tmp_path: Path) -> None:
    parity = export(EMBEDDED / "checkpoint", tmp_path / "out", "fp32", 0, None)
    assert json.loads((tmp_path / "out/parity.json").read_text()) == parity
    for engine in ("onnxruntime", "openvino"):
        classifier = open_classifier(tmp_path / "out", EngineOptions("cpu", engine, "fp32"))
        assert (classifier.engine.name, classifier.engine.device, classifier.engine.precision) == (engine, "cpu", "fp32")
        assert classifier.name == "out"
    assert not (tmp_path / "out/checkpoint").exists()


def test_embedded_file_is_the_export_of_the_embedded_checkpoint(tmp_path: Path) -> None:
    export(EMBEDDED / "checkpoint", tmp_path, "fp32", 0, None)
    ours, fresh = TenCropFile.read(EMBEDDED), TenCropFile.read(tmp_path)
    assert (ours.card.checkpoint_sha256, ours.card.contract) == (fresh.card.checkpoint_sha256, fresh.card.contract)
    assert ours.card.recipe == fresh.card.recipe and ours.card.probe.classes[0] == fresh.card.probe.classes[0]


def test_smaller_export_keeps_its_checkpoint(source145: Checkpoint, tmp_path: Path) -> None:
    source145.save(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "small", "fp16", 16, None)
    small = Checkpoint.load(tmp_path / "small/checkpoint")
    assert small.net.fc6.rank == 16 and small.weights["fc6.down.weight"].dtype == "float16"
    assert (tmp_path / "small/net.onnx").stat().st_size < 0.45 * (tmp_path / "checkpoint/weights.safetensors").stat().st_size


def test_refused_export_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise WorkFailed("parity: no")

    monkeypatch.setattr(files, "verify", refuse)
    with pytest.raises(WorkFailed, match="parity"):
        export(EMBEDDED / "checkpoint", tmp_path / "out", "fp32", 0, None)
    assert not (tmp_path / "out").exists()


def test_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no checkpoint here"):
        export(tmp_path, tmp_path / "out", "fp32", 0, None)
