"""experiments/embedded.py: one command makes the embedded model, its picture and the README's errors again."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from support.calibrated import TINY, write_pictures

from experiments import embedded as command
from experiments.embedded import MODEL, PICTURE, ROOT, describe_form, embed, replace_row
from tencrop.common.errors import BadInput
from tencrop.evaluation.summary import EvaluatedModel, Summary, read_summary
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.filter_picture import draw_filters
from tencrop.model.measured_errors import ErrorRates, ErrorsByViews
from tencrop.model.tencropfile import TenCropFile

ERRORS = "| 20.00 % / 10.00 % | 18.75 % / 6.25 % | 30.00 % / 15.00 % | 25.00 % / 12.50 % |"  # of `summarize`, in a row
REACHED = {80: np.array([0.79, 0.82]), 90: np.array([0.88, 0.92]), 95: np.array([0.95, 0.95])}  # coverages
COVERAGES = "| 80.5 % (79.0 % to 82.0 %) | 90.0 % (88.0 % to 92.0 %) | 95.0 % (95.0 % to 95.0 %) |"  # in a row
README = (ROOT / "README.md").read_text(encoding="utf-8")


def summarize(precision: str) -> Summary:
    return Summary(
        n=1000,
        undecodable=0,
        no_answer=0,
        center=ErrorRates(0.2, 0.1),
        ten_crop=ErrorRates(0.1875, 0.0625),
        engine="openvino",
        device="cpu",
        precision=precision,
        model=EvaluatedModel("caltech101", "0" * 64),
        contract_sha256="0" * 64,
        dataset="photographs",
        subset=0.15,
        available=1000,
        mean_over_classes=ErrorsByViews(ErrorRates(0.3, 0.15), ErrorRates(0.25, 0.125)),
    )


def copy_checkout(folder: Path) -> Path:
    """The parts of a checkout that the command changes, the model not among them."""
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "README.md", folder)
    return folder


def list_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_today_s_checkpoint_makes_today_s_model_again(tmp_path: Path) -> None:
    embed(ROOT / MODEL / "checkpoint", root=copy_checkout(tmp_path))
    old, new = list_files(ROOT / MODEL), list_files(tmp_path / MODEL)
    assert old.keys() - {"summary.json"} == new.keys() and len(new) == 4
    assert [name for name in new if old[name] != new[name]] in ([], ["tencrop.onnx"])
    files = [TenCropFile.read(root / MODEL / "tencrop.onnx") for root in (ROOT, tmp_path)]
    graphs = [onnx.load_model_from_string(file.graph) for file in files]
    assert graphs[0].graph == graphs[1].graph and graphs[0].opset_import == graphs[1].opset_import
    ours, fresh = (file.metadata for file in files)  # only measured numbers depend on the CPU
    for name in ("contract", "recipe", "checkpoint_sha256", "filter_picture"):
        assert getattr(ours, name) == getattr(fresh, name)
    assert (ours.probe.seed, ours.probe.classes) == (fresh.probe.seed, fresh.probe.classes)
    np.testing.assert_allclose(ours.probe.probabilities, fresh.probe.probabilities, atol=1e-5)
    assert ours.parity.keys() == fresh.parity.keys()
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == README
    assert (tmp_path / PICTURE).is_file()


def test_errors_are_measured_on_the_new_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[object, ...]]()

    def measure(model: Path, data: Path, precision: str) -> Summary:
        file = TenCropFile.read(model)
        asked.append((file.name, file.metadata.recipe["name"], data, precision))
        return summarize("fp32")  # of a CPU without bf16

    def calibrate(model: Path, data: Path) -> dict[int, np.ndarray]:
        asked.append((TenCropFile.read(model).name, data))
        return REACHED

    monkeypatch.setattr(command, "export", lambda checkpoint, out, *_: shutil.copytree(ROOT / MODEL, out))
    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(command, "calibrate", calibrate)
    embed(ROOT / MODEL / "checkpoint", tmp_path / "data", copy_checkout(tmp_path))
    calibrated, *measured = asked
    assert calibrated == ("caltech101", tmp_path / "data")  # before the errors, so that they are those of its bytes
    assert measured == [("caltech101", "caltech101_compact", tmp_path / "data", p) for p in ("fp32", "auto")]
    lines = zip(README.splitlines(), (tmp_path / "README.md").read_text(encoding="utf-8").splitlines(), strict=True)
    changed, coverages = [new for old, new in lines if old != new]
    assert coverages == f"| reached <!-- make embedded: coverage --> {COVERAGES}"
    kept = json.loads((tmp_path / MODEL / "summary.json").read_text())
    assert kept == summarize("fp32").to_json()
    megabytes = (tmp_path / MODEL / "tencrop.onnx").stat().st_size / 1e6
    assert changed.startswith(f"| fp32 (fc6 and fc7 at rank 128, fp16 weights, {megabytes:.1f} MB) ")
    assert changed.endswith(ERRORS)


def test_a_checkpoint_that_is_not_finite_leaves_the_model(embedded: Checkpoint, tmp_path: Path) -> None:
    spoiled = {**embedded.weights, "fc8.bias": np.full(101, np.nan, np.float32)}
    replace(embedded, weights=spoiled).save(tmp_path / "checkpoint")
    before = list_files(copy_checkout(tmp_path))
    with pytest.raises(BadInput, match=r"fc8\.bias is not finite"):
        embed(tmp_path / "checkpoint", root=tmp_path)
    assert list_files(tmp_path) == before


def test_docs_picture_shows_the_embedded_filters(embedded: Checkpoint) -> None:
    drawn = io.BytesIO(draw_filters(embedded.weights["conv1.weight"]))
    np.testing.assert_array_equal(np.asarray(Image.open(ROOT / PICTURE)), np.asarray(Image.open(drawn)))


def test_each_precision_has_a_row_in_the_readme(embedded: Checkpoint) -> None:
    changed = replace_row(README, "bf16", embedded, 0, summarize("bf16"))
    lines = zip(README.splitlines(), changed.splitlines(), strict=True)
    ((old, new),) = [pair for pair in lines if pair[0] != pair[1]]
    assert old.split("|")[1] == new.split("|")[1] and new.endswith(ERRORS)
    with pytest.raises(ValueError, match="0 rows"):
        replace_row(changed.replace("bf16", ""), "bf16", embedded, 0, summarize("bf16"))


def test_the_readme_has_the_errors_of_the_summary_beside_the_model(embedded: Checkpoint) -> None:
    size = (ROOT / MODEL / "tencrop.onnx").stat().st_size
    assert replace_row(README, "fp32", embedded, size, read_summary(ROOT / MODEL / "summary.json")) == README


def test_form_is_named_as_in_the_readme(embedded: Checkpoint, source145: Checkpoint) -> None:
    assert f"| fp32 ({describe_form(embedded)}, " in README
    assert describe_form(source145) == "fp32 weights"


def test_bad_checkpoint_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no checkpoint here"):
        embed(tmp_path, root=copy_checkout(tmp_path))
    assert list_files(tmp_path) == {"README.md": README.encode()}


@pytest.mark.slow
def test_the_model_is_calibrated_on_images_that_were_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model on half of 120 pictures."""
    write_pictures(tmp_path / "photos", 40)
    monkeypatch.setattr(command, "HOLDOUT", 0.5)
    shutil.copytree(TINY, tmp_path / "tiny")
    reached = command.calibrate(tmp_path / "tiny", tmp_path / "photos")
    found = TenCropFile.read(tmp_path / "tiny").metadata.calibration
    assert found and (found.n, found.dataset, found.precision) == (60, "photos", "fp32")
    assert list(reached) == [80, 90, 95] and all(len(each) == 5 for each in reached.values())
