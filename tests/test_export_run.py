"""export/run.py: the exported files agree with each other, and nothing is written when the parity gate refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.file_forms import FORM, list_forms

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.export import run
from tencrop.export.run import export
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions


def list_casts(file: Path) -> list[str]:
    """What is cast in an ONNX file: the pixels, or weights in fp16."""
    return [node.name.removeprefix("tencrop/") for node in onnx.load(file).graph.node if node.op_type == "Cast"]


@pytest.mark.slow
def test_exported_file_opens_on_every_engine(tmp_path: Path) -> None:
    parity = export(EMBEDDED / "checkpoint", tmp_path / "out", "fp32", 0, None, hub=True)
    assert list_forms(tmp_path / "out") == {"net.onnx": FORM, "tencrop.onnx": FORM, "model.onnx": FORM}
    assert list_casts(tmp_path / "out/net.onnx") == list_casts(tmp_path / "out/model.onnx") == []
    assert list_casts(tmp_path / "out/tencrop.onnx") == ["float"]
    assert json.loads((tmp_path / "out/parity.json").read_text()) == parity.to_json()
    for engine in ("onnxruntime", "openvino"):
        classifier = open_classifier(tmp_path / "out", EngineOptions("cpu", engine, "fp32"))
        assert (classifier.engine.name, classifier.engine.device, classifier.engine.precision) == (
            engine,
            "cpu",
            "fp32",
        )
        assert classifier.name == "out"
    assert not (tmp_path / "out/checkpoint").exists()


@pytest.mark.slow
def test_embedded_file_is_the_export_of_the_embedded_checkpoint(tmp_path: Path) -> None:
    export(EMBEDDED / "checkpoint", tmp_path, "fp16", 0, None)
    assert not (tmp_path / "checkpoint").exists()
    ours, fresh = TenCropFile.read(EMBEDDED), TenCropFile.read(tmp_path)
    assert onnx.load_model_from_string(ours.graph).graph == onnx.load_model_from_string(fresh.graph).graph
    assert (ours.metadata.checkpoint_sha256, ours.metadata.contract) == (
        fresh.metadata.checkpoint_sha256,
        fresh.metadata.contract,
    )
    assert (
        ours.metadata.recipe == fresh.metadata.recipe
        and ours.metadata.probe.classes[0] == fresh.metadata.probe.classes[0]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["source145", "finetune146"])
def test_smaller_export_keeps_its_checkpoint(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    saved: Checkpoint = request.getfixturevalue(name)
    saved.save(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "small", "fp16", 16, None)
    small = Checkpoint.load(tmp_path / "small/checkpoint")
    assert small.recipe["expect"] == [] != saved.recipe["expect"]
    assert small.net.conv6 == saved.net.conv6
    assert small.net.fc6.rank == 16 and small.weights["fc6.down.weight"].dtype == "float16"
    assert (tmp_path / "small/net.onnx").stat().st_size < 0.45 * (
        tmp_path / "checkpoint/weights.safetensors"
    ).stat().st_size


@pytest.mark.slow
def test_refused_export_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise WorkFailed("parity: no")

    monkeypatch.setattr(run, "check_parity", refuse)
    with pytest.raises(WorkFailed, match="parity"):
        export(EMBEDDED / "checkpoint", tmp_path / "out", "fp32", 0, None)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no checkpoint here"):
        export(tmp_path, tmp_path / "out", "fp32", 0, None)


MISFITS: dict[str, tuple[Callable[[Checkpoint], Checkpoint], str]] = {
    "labels": (
        lambda saved: replace(saved, contract=replace(saved.contract, labels=saved.contract.labels[:50])),
        "50 labels for 101 outputs",
    ),
    "a weight missing": (lambda saved: remove_weight(saved, "fc8.bias"), "fc8.bias is missing"),
    "a weight too many": (
        lambda saved: set_weight(saved, "fc9.bias", np.zeros(1, np.float32)),
        "fc9.bias belongs to no layer of its net",
    ),
    "another shape": (
        lambda saved: set_weight(saved, "conv1.bias", np.zeros(95, np.float32)),
        r"conv1.bias is float32 \[95\]",
    ),
    "whole numbers": (lambda saved: set_weight(saved, "conv1.bias", np.zeros(96, np.int32)), "conv1.bias is int32"),
    "another crop": (lambda saved: replace_contract(saved, crop=227), "sees 224 pixels, and its contract crops 227"),
    "another resize": (
        lambda saved: replace_contract(saved, resize=300),
        r"statistics.mean is float32 \[3, 256, 256\], not float16 or float32 \[3, 300, 300\]",
    ),
    "NaN": (
        lambda saved: set_weight(saved, "fc8.bias", np.full(101, np.nan, np.float32)),
        "fc8.bias is not finite",
    ),
}


def replace_contract(saved: Checkpoint, **changes: Any) -> Checkpoint:
    return replace(saved, contract=replace(saved.contract, **changes))


def remove_weight(saved: Checkpoint, name: str) -> Checkpoint:
    return replace(saved, weights={key: value for key, value in saved.weights.items() if key != name})


def set_weight(saved: Checkpoint, name: str, value: np.ndarray) -> Checkpoint:
    return replace(saved, weights={**saved.weights, name: value})


@pytest.mark.parametrize("misfit", MISFITS)
def test_checkpoint_of_unfitting_parts_is_refused(misfit: str, embedded: Checkpoint, tmp_path: Path) -> None:
    change, message = MISFITS[misfit]
    change(embedded).save(tmp_path / "checkpoint")
    with pytest.raises(BadInput, match=message):
        export(tmp_path / "checkpoint", tmp_path / "out", "fp32", 0, None)
    assert not (tmp_path / "out").exists()


def test_checkpoint_is_not_replaced_by_its_own_export(embedded: Checkpoint, tmp_path: Path) -> None:
    embedded.save(tmp_path / "checkpoint")
    with pytest.raises(BadInput, match="would replace the checkpoint"):
        export(tmp_path / "checkpoint", tmp_path, "fp16", 0, None)
