"""`tencrop calibrate`: a tiny model is calibrated on sixty pictures; and what is refused."""

import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.calibrated import CLASSES, TINY, write_calibrated, write_pictures
from support.command_line import call

from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.evaluation.confidence_fit import FITS
from tencrop.evaluation.plan import plan_evaluation
from tencrop.model.calibration import NO_MAP
from tencrop.model.contract import Contract
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

EACH = 20  # pictures of a class


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures of the tiny model's classes, and one file that is no picture."""
    root = tmp_path_factory.mktemp("photos")
    write_pictures(root, EACH)
    (root / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    return root


def calibrate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    return call(monkeypatch, "calibrate", *map(str, arguments), "--device", "cpu", "--precision", "fp32")


def test_the_model_is_calibrated_as_its_answers_say(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(monkeypatch, TINY, photos, "--out", tmp_path / "sure") == 0
    printed = capsys.readouterr().out
    file = TenCropFile.read(tmp_path / "sure")
    found = file.metadata.calibration
    assert found and file.graph.startswith((TINY / "tencrop.onnx").read_bytes())
    assert (found.n, found.dataset, found.engine, found.precision) == (60, photos.name, "openvino", "fp32")
    assert [each.name for each in found.tried] == list(FITS) and found.map.name in FITS
    plain, *_ = found.tried
    chosen = next(each for each in found.tried if each.name == found.map.name)
    assert chosen == plain or (chosen.nll < plain.nll and chosen.ece < plain.ece)
    assert "60 images (1 without an answer), openvino, fp32" in printed and "coverage 0.8: " in printed
    assert re.search(r"labels a set\n  \(by randomized APS \d\.\d, RAPS \d\.\d, for comparison\)\n", printed)
    assert "coverages from 0.84 on are left out: that takes 63 images" in printed
    with open_classifier(tmp_path / "sure", EngineOptions("cpu", precision="fp32")) as classifier:
        true = []
        for label, name in enumerate(CLASSES):
            answers = classifier.predict(sorted((photos / name).glob("[0-9]*.png")))
            true += [answer.probabilities[label] for answer in answers]
        ranked = np.sort(true)[::-1]
        assert [each.coverage for each in found.thresholds] == [0.8, 0.81, 0.82, 0.83]
        assert found.thresholds[0].probability == ranked[49 - 1]  # ceil(61 * 0.8) = 49
        assert found.dataset_sha256 == plan_evaluation(open_source(photos), classifier).sha256


@pytest.mark.slow
def test_a_calibrated_model_can_be_calibrated_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_calibrated(tmp_path / "old")
    for model, out in ((old, "new.onnx"), (TINY, "plain.onnx")):
        assert calibrate(monkeypatch, model, photos, "--out", tmp_path / out) == 0
    assert (tmp_path / "new.onnx").read_bytes() == (tmp_path / "plain.onnx").read_bytes()


@pytest.mark.slow
def test_a_map_that_does_not_help_is_not_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tencrop.evaluation.calibrate.choose_map", lambda tried: NO_MAP)
    assert calibrate(monkeypatch, TINY, photos, "--out", tmp_path / "sure.onnx") == 0
    assert "no map lowers both NLL and ECE, so a confidence is the probability" in capsys.readouterr().out
    with open_classifier(tmp_path / "sure.onnx", EngineOptions("cpu", precision="fp32")) as classifier:
        prediction = classifier.predict(photos / "ant" / "00.png")
    assert [guess.confidence for guess in prediction.top] == [guess.probability for guess in prediction.top]


def copy_some(photos: Path, folder: Path, each: int, classes: tuple[str, ...] = CLASSES) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for file in sorted((photos / name).glob("[0-9]*.png"))[:each]:
            shutil.copy(file, folder / name)
    return folder


def few(photos: Path, folder: Path) -> list[Path | str]:
    return [copy_some(photos, folder / "few", 15), "--out", folder / "sure.onnx"]


def of_two_classes(photos: Path, folder: Path) -> list[Path | str]:
    return [copy_some(photos, folder / "two", EACH, CLASSES[:2]), "--out", folder / "sure.onnx"]


def of_another_class(photos: Path, folder: Path) -> list[Path | str]:
    data = copy_some(photos, folder / "three", EACH)
    (data / "cat").rename(data / "dog")
    return [data, "--out", folder / "sure.onnx"]


def to_an_old_file(photos: Path, folder: Path) -> list[Path | str]:
    (folder / "sure.onnx").write_bytes(b"old")
    return [photos, "--out", folder / "sure.onnx"]


def into_the_data(photos: Path, folder: Path) -> list[Path | str]:
    return [photos, "--out", photos / "sure"]


def trained_on(photos: Path, folder: Path) -> list[Path | str]:
    return [photos, "--out", folder / "sure.onnx", "--prepared", prepare_as_tiny(photos, folder / "prepared")]


def of_another_contract(photos: Path, folder: Path) -> list[Path | str]:
    prepare(open_source(photos), folder / "prepared", 0.2, lambda done: None)
    return [photos, "--out", folder / "sure.onnx", "--prepared", folder / "prepared"]


def without_hashes(photos: Path, folder: Path) -> list[Path | str]:
    return [photos, "--out", folder / "sure.onnx", "--prepared", TINY.parent / "prepared"]


REFUSED: Mapping[Callable[[Path, Path], list[Path | str]], str] = {
    few: "45 images: a coverage of 0.8 takes 50; calibrate on more",
    of_two_classes: "has images of 2 of the model's 3 classes; calibrate on images of every class",
    of_another_class: "class 'dog' is none of the model's",
    to_an_old_file: "sure.onnx: exists already; choose another --out",
    into_the_data: "lies in the data set",
    trained_on: "the net was trained on",
    of_another_contract: "its classes or sizes are not those of the model",
    without_hashes: "knows no hashes of its images",
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
def test_what_cannot_be_calibrated_is_one_line(
    case: Callable[[Path, Path], list[Path | str]],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = case(photos, tmp_path)
    before = list_files(photos) | list_files(tmp_path)
    assert calibrate(monkeypatch, TINY, *arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tencrop: ")]
    assert REFUSED[case] in line
    assert list_files(photos) | list_files(tmp_path) == before


def test_an_out_that_cannot_be_written_is_told_before_the_work(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tencrop.evaluation.calibrate.collect_answers", None)
    (tmp_path / "file").write_bytes(b"")
    assert calibrate(monkeypatch, TINY, photos, "--out", tmp_path / "file" / "sure.onnx") == 1
    assert "file: File exists" in capsys.readouterr().err


def list_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def prepare_as_tiny(photos: Path, out: Path) -> Path:
    """Prepare pictures in the tiny model's size; a fifth of each class is held out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tencrop.dataset.prepare.Contract", partial(Contract, resize=40, crop=32))
        prepare(open_source(photos), out, 0.2, lambda done: None)
    return out


@pytest.mark.slow
def test_images_that_were_held_out_are_taken(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The held-out pictures lie under other names, for it is their bytes that count."""
    prepared = prepare_as_tiny(photos, tmp_path / "prepared")
    other = tmp_path / "other"
    write_pictures(other, EACH, first=EACH)
    arguments = ("--prepared", prepared, "--out", tmp_path / "sure.onnx")
    assert calibrate(monkeypatch, TINY, other, *arguments) == 0
