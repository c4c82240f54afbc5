"""model/feature_output.py: the features that a file gives are the values of the torch net's own layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.export.run import export
from tencrop.model import feature_output
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.model.feature_output import LAYERS, add_feature_output, with_features
from tencrop.model.probe import formula_image
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.model.tencropfile import TenCropFile, parse_onnx
from tencrop.runtime.engine import open_engine
from tencrop.runtime.engine_choice import EngineChoice

PLACES = {"pool5": 15, "fc6": 17, "fc7": 20}  # how many operations of the net give the layer's values
CPU = EngineChoice("onnxruntime", "cpu", "fp32")


@torch.inference_mode()
def ask_torch(checkpoint: Checkpoint, images: np.ndarray) -> dict[str, np.ndarray]:
    """The values of each layer for every view, float32 [N,10,K], by the torch modules up to there."""
    net = TenCropNet.from_checkpoint(checkpoint)
    crops = net.cut_views(torch.from_numpy(images), net.contract.views).flatten(0, 1)
    modules = list(net.net.children())
    cut = {layer: torch.nn.Sequential(*modules[:place]) for layer, place in PLACES.items()}
    return {layer: part(crops).reshape(len(images), 10, -1).numpy() for layer, part in cut.items()}


def assert_close(found: np.ndarray, want: np.ndarray, tolerance: float) -> None:
    assert found.shape == want.shape
    assert np.abs(found - want).max() <= tolerance * np.abs(want).max()


def test_features_are_the_values_of_the_nets_own_layers(embedded: Checkpoint) -> None:
    images = np.stack([formula_image(seed, 256, 256) for seed in range(2)])
    file = TenCropFile.read(EMBEDDED)
    assert file.metadata.features == ()
    opened = file
    for layer in LAYERS:
        opened = with_features(opened, layer)
    assert (opened.metadata.features, opened.sha256) == (tuple(LAYERS), file.sha256)
    found = open_engine(opened.graph, CPU).run(images)
    for layer, want in ask_torch(embedded, images).items():
        assert (want == 0).any(), "behind ReLU"
        assert_close(found[layer], want, 1e-4)
    before = open_engine(file.graph, CPU).run(images)
    np.testing.assert_allclose(found["probabilities"], before["probabilities"], rtol=0, atol=1e-6)
    with pytest.raises(BadInput, match=r"caltech101: features of 'fc77': expected pool5, fc6, fc7; did you mean fc7\?"):
        with_features(file, "fc77")


def test_a_net_without_the_layer_is_refused() -> None:
    node = helper.make_node("Identity", ["images"], ["net/relu6"])
    graph = helper.make_graph([node], "other", [], [])
    with pytest.raises(BadInput, match="no layer named fc7"):
        add_feature_output(helper.make_model(graph), "fc7")


@pytest.mark.slow
def test_an_export_has_the_features_that_it_was_asked_for(source145: Checkpoint, tmp_path: Path) -> None:
    source145.save(tmp_path / "checkpoint")
    parity = export(tmp_path / "checkpoint", tmp_path / "out", "fp16", 16, None, features=["fc7", "pool5"])
    assert all(row.features_relative is not None for row in parity.compared)
    assert "of the largest one at most" in parity.format()
    file = TenCropFile.read(tmp_path / "out")
    assert file.metadata.features == ("fc7", "pool5")
    assert [output.name for output in parse_onnx(file.graph, "").graph.output][2:] == ["fc7", "pool5"]
    assert with_features(file, "fc7") is file
    assert with_features(file, "fc6").metadata.features == ("fc7", "pool5", "fc6")


@pytest.mark.slow
def test_without_the_option_a_file_keeps_its_bytes(source145: Checkpoint, tmp_path: Path) -> None:
    source145.save(tmp_path / "checkpoint")
    for name, features in (("plain", []), ("more", ["fc7"])):
        export(tmp_path / "checkpoint", tmp_path / name, "fp32", 0, None, features=features)
    plain, more = (TenCropFile.read(tmp_path / name) for name in ("plain", "more"))
    assert [entry.key for entry in parse_onnx(plain.graph, "").metadata_props if "features" in entry.key] == []
    graph = parse_onnx(plain.graph, "")
    add_feature_output(graph, "fc7")
    assert graph.graph == parse_onnx(more.graph, "").graph
    assert "features_relative" not in (tmp_path / "plain/parity.json").read_text()


@pytest.mark.slow
def test_the_gate_refuses_features_of_another_layer(
    source145: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source145.save(tmp_path / "checkpoint")
    wrong = {"pool5": LAYERS["pool5"], "fc6": ("relu7",), "fc7": ("relu6",)}
    monkeypatch.setattr(feature_output, "LAYERS", wrong)
    with pytest.raises(WorkFailed, match=r"features of tencrop\.onnx differs from torch"):
        export(tmp_path / "checkpoint", tmp_path / "out", "fp32", 0, None, features=["fc7"])
    assert not (tmp_path / "out").exists()
