"""export/hub_folder.py: the folder for the Hugging Face hub is read by the hub's client and by our own import."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import oracles
import pytest
from huggingface_hub import ModelCard
from support.file_forms import FORM, list_forms
from support.tiny_source import CLASSES, CROP, RESIZE, TinySource

from tencrop import cli
from tencrop.common.errors import BadInput
from tencrop.export.compress import cast_to_fp32
from tencrop.export.hub_folder import check_card, write_hub_folder
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.run import import_net
from tencrop.export.net_graph import build_net_graph
from tencrop.export.run import export
from tencrop.model.checkpoint import Checkpoint, hash_weights
from tencrop.model.checksums import hash_file
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.embedded import EMBEDDED
from tencrop.model.model_card import make_card
from tencrop.model.run_progress import RunProgress
from tencrop.model.tencropfile import TenCropFile

GIVEN = InputConvention("bgr", "nchw", 1.0, (100.0, 110.0, 120.0), (60.0, 50.0, 40.0), resize=RESIZE)
HUB_FILES = {"README.md", "config.json", "preprocessor_config.json", "model.onnx"}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny net of somebody else, imported with --hub."""
    folder = tmp_path_factory.mktemp("imported")
    import_net(TinySource(end="logits").save(folder / "tiny.onnx"), folder / "out", GIVEN, None, hub=True)
    return folder / "out"


def run(file: Path, **inputs: np.ndarray) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, inputs))


def check_center_view(folder: Path, atol: float) -> None:
    """Compare model.onnx, given the pixels of the center crop as they are, with the center view of tencrop.onnx."""
    contract = TenCropFile.read(folder).metadata.contract
    images = np.random.default_rng(1).integers(0, 256, (2, contract.resize, contract.resize, 3)).astype(np.uint8)
    first = (contract.resize - contract.crop) // 2
    square = images[:, first : first + contract.crop, first : first + contract.crop]
    (logits,) = run(folder / "model.onnx", pixel_values=square.transpose(0, 3, 1, 2).astype(np.float32))
    _, views = run(folder / "tencrop.onnx", images=images)
    np.testing.assert_allclose(oracles.softmax(logits.astype(np.float64)), views[:, CENTER_VIEW], rtol=0, atol=atol)
    assert np.ptp(views[:, CENTER_VIEW]) > 0.05


def test_model_onnx_answers_as_the_center_view(imported: Path) -> None:
    check_center_view(imported, 1e-5)


def test_every_file_of_a_net_of_an_older_opset_has_our_own_form(imported: Path) -> None:
    assert list_forms(imported) == {"net.onnx": FORM, "tencrop.onnx": FORM, "model.onnx": FORM}


def test_our_import_reads_the_folder_and_gives_the_same_net(imported: Path, tmp_path: Path) -> None:
    metadata = import_net(imported, tmp_path / "again", InputConvention(), None)
    contract = TenCropFile.read(imported).metadata.contract
    assert (metadata.contract.resize, metadata.contract.crop) == (contract.resize, contract.crop) == (RESIZE, CROP)
    assert [label.name for label in metadata.contract.labels] == [label.name for label in contract.labels]
    assert not any(line.startswith("unlike") for line in metadata.recipe["notes"])
    images = np.random.default_rng(2).integers(0, 256, (3, RESIZE, RESIZE, 3)).astype(np.uint8)
    for ours, theirs in zip(
        *(run(f / "tencrop.onnx", images=images) for f in (imported, tmp_path / "again")), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_the_hubs_client_reads_the_card_which_names_the_files(imported: Path) -> None:
    assert {path.name for path in imported.iterdir()} == HUB_FILES | {
        *("checkpoint", "net.onnx", "tencrop.onnx", "parity.json")
    }
    card = ModelCard.load(imported / "README.md")
    assert card.text.startswith("\n# out\n") and "- `model.onnx`: the center view alone" in card.text
    assert "model.safetensors" not in card.text and "`tencrop import` made it of tiny.onnx." in card.text


def test_an_imported_net_has_no_architecture_that_is_known(imported: Path) -> None:
    config = json.loads((imported / "config.json").read_text())
    assert config == {
        "image_size": CROP,
        "num_channels": 3,
        "problem_type": "single_label_classification",
        "id2label": {str(index): f"class {index}" for index in range(CLASSES)},
        "label2id": {f"class {index}": index for index in range(CLASSES)},
    }


@pytest.mark.parametrize("net", ["model.onnx", ""], ids=["the net", "its folder"])
def test_an_import_does_not_replace_its_own_source(net: str, imported: Path, tmp_path: Path) -> None:
    shutil.copytree(imported, tmp_path / "out")
    with pytest.raises(BadInput, match="would be overwritten by its own import"):
        import_net(tmp_path / "out" / net, tmp_path / "out", InputConvention(), None, hub=True)


@pytest.fixture(scope="module")
def embedded_folder(embedded: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model for the hub, written as an export with --hub does after its gate."""
    folder = tmp_path_factory.mktemp("hub") / "caltech101"
    shutil.copytree(EMBEDDED, folder)
    progress = RunProgress(sessions=({"after_epoch": 0, "tencrop": "0.2.0"},))
    write_hub_folder(folder, folder, build_net_graph(embedded), embedded.mean, EMBEDDED / "checkpoint", progress)
    return folder


def test_a_mean_image_is_inside_model_onnx(embedded_folder: Path) -> None:
    check_center_view(embedded_folder, 1e-4)


def test_the_weights_are_the_checkpoints(embedded_folder: Path) -> None:
    assert hash_file(embedded_folder / "model.safetensors") == hash_weights(EMBEDDED / "checkpoint")


def test_a_net_of_ours_says_what_it_is_and_how_it_was_trained(embedded_folder: Path) -> None:
    config = json.loads((embedded_folder / "config.json").read_text())
    assert (config["architectures"], config["model_type"], config["image_size"]) == (["AlexNet"], "alexnet", 224)
    assert config["label2id"]["yin yang"] == 100 and config["id2label"]["100"] == "yin yang"
    text = (embedded_folder / "README.md").read_text()
    assert "| trained after epoch 0 by | tencrop 0.2.0 |" in text and "| ten views | 23.42% (" in text
    assert "- `model.safetensors`: the weights" in text


def test_a_damaged_summary_in_the_folder_is_refused(embedded: Checkpoint, tmp_path: Path) -> None:
    shutil.copy(EMBEDDED / "tencrop.onnx", tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(BadInput, match=r"summary\.json: damaged"):
        write_hub_folder(tmp_path, tmp_path, build_net_graph(embedded), embedded.mean)


@pytest.mark.parametrize("text", ["my notes", '---\nlibrary_name: "timm"\n---\n', "\0\xff"])
def test_a_readme_of_somebody_else_is_not_replaced(text: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(text, encoding="latin-1")
    advice = r"README\.md: not written by tencrop, and --hub would replace it; move it"
    with pytest.raises(BadInput, match=advice):
        export(EMBEDDED / "checkpoint", tmp_path, "fp32", 0, None, hub=True)
    net = TinySource(end="logits").save(tmp_path / "tiny.onnx")
    with pytest.raises(BadInput, match=advice):
        import_net(net, tmp_path, InputConvention(resize=RESIZE), None, hub=True)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "tiny.onnx"}


def test_a_card_of_ours_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(make_card(TenCropFile.read(EMBEDDED)), encoding="utf-8")
    check_card(tmp_path)


@pytest.mark.slow
def test_a_smaller_export_is_for_the_hub_too(embedded: Checkpoint, tmp_path: Path) -> None:
    cast_to_fp32(embedded).save(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "whole", "fp16", 0, None, hub=True)
    assert hash_file(tmp_path / "whole/model.safetensors") == hash_weights(tmp_path / "whole/checkpoint")
    again = import_net(tmp_path / "whole", tmp_path / "again", InputConvention(), None)
    assert len(again.contract.labels) == 101


@pytest.mark.slow
def test_the_command_takes_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = TinySource(end="logits").save(tmp_path / "tiny.onnx")
    monkeypatch.setattr(
        "sys.argv", ["tencrop", "import", str(net), str(tmp_path / "out"), "--hub", f"--resize={RESIZE}"]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0 and capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} > HUB_FILES
