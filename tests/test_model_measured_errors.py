"""model/measured_errors.py: the summary.json beside a model tells its errors; one of another model tells nothing."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tencrop.common.errors import BadInput
from tencrop.model.embedded import EMBEDDED
from tencrop.model.measured_errors import (
    ErrorRates,
    ErrorsByViews,
    MeasuredErrors,
    read_measured_errors,
    read_model_and_errors,
)
from tencrop.model.tencropfile import TenCropFile

STORED = Path(__file__).parent / "fixtures" / "0.1"
SHA256 = "a1" * 32
SUMMARY: dict[str, Any] = {
    "n": 40,
    "center": {"top1_error": 0.5, "top5_error": 0.25},
    "ten_crop": {"top1_error": 0.4, "top5_error": 0.2},
    "mean_over_classes": {
        "center": {"top1_error": 0.6, "top5_error": 0.35},
        "ten_crop": {"top1_error": 0.55, "top5_error": 0.3},
    },
    "precision": "fp32",
    "model": {"name": "net", "sha256": SHA256},
    "dataset": "photos",
    "subset": 0.15,
    "available": 40,
}


def write(folder: Path, **changes: object) -> Path:
    (folder / "summary.json").write_text(json.dumps(SUMMARY | changes))
    return folder


def test_errors_are_read_from_the_summary_beside_the_model(tmp_path: Path) -> None:
    assert read_measured_errors(write(tmp_path), SHA256) == MeasuredErrors(
        dataset="photos",
        subset=0.15,
        n=40,
        available=40,
        precision="fp32",
        center=ErrorRates(0.5, 0.25),
        ten_crop=ErrorRates(0.4, 0.2),
        mean_over_classes=ErrorsByViews(ErrorRates(0.6, 0.35), ErrorRates(0.55, 0.3)),
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subset": "own"}, "40 images: the data set's own for validation"),
        ({"subset": "all", "available": 50_000}, "40, evenly spread, of 50,000 images: all of the data set"),
        ({"n": 1170, "available": 1170}, "1,170 images: a share of 0.15 of each class, held out"),
    ],
    ids=str,
)
def test_images_are_told_in_words(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    found = read_measured_errors(write(tmp_path, **changes), SHA256)
    assert found is not None
    assert found.describe_images() == words


def test_a_folder_without_a_summary_tells_nothing(tmp_path: Path) -> None:
    assert read_measured_errors(tmp_path, SHA256) is None


def test_a_named_pipe_is_no_summary(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "summary.json")
    assert read_measured_errors(tmp_path, "0" * 64) is None


def test_the_summary_of_another_model_tells_nothing(tmp_path: Path) -> None:
    assert read_measured_errors(write(tmp_path), "b2" * 32) is None


def test_the_summary_of_version_0_1_has_no_means(tmp_path: Path) -> None:
    shutil.copy(STORED / "evaluation" / "summary.json", tmp_path)
    found = read_measured_errors(tmp_path, TenCropFile.read(STORED / "tiny").sha256)
    assert found is not None
    assert (found.n, found.subset, found.mean_over_classes) == (13, "all", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 0},
        {"n": "40"},
        {"n": float("nan")},
        {"n": 10**20},
        {"center": None},
        {"center": {"top1_error": 0.5}},
        {"ten_crop": {"top1_error": 1.5, "top5_error": 0.2}},
        {"mean_over_classes": {"center": SUMMARY["center"]}},
        {"model": None},
        {"model": {"name": "net"}},
        {"dataset": 7},
        {"subset": "some"},
    ],
    ids=str,
)
def test_a_damaged_summary_is_one_line(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"summary\.json: .*; evaluate again, or remove it$") as raised:
        read_measured_errors(write(tmp_path, **changes), SHA256)
    assert "\n" not in str(raised.value)


def test_a_missing_summary_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.json: cannot be read \(No such file or directory\); .*evaluate --out"):
        read_model_and_errors(tmp_path / "none.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000], ids=range(6))
def test_another_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"summary\.json: damaged, or not of a validation"):
        read_measured_errors(tmp_path, SHA256)


def test_the_embedded_model_has_its_errors_beside_it() -> None:
    file = TenCropFile.read(EMBEDDED)
    found = read_measured_errors(file.folder, file.sha256)
    assert found is not None
    assert (found.dataset, found.subset, found.n, found.precision) == ("caltech101", 0.15, 1170, "fp32")
    assert found.mean_over_classes is not None
    assert found.mean_over_classes.ten_crop.top1_error > found.ten_crop.top1_error  # small classes are harder


def test_the_embedded_summary_names_no_place_of_the_machine_that_wrote_it() -> None:
    text = (EMBEDDED / "summary.json").read_text()
    assert json.loads(text)["model"]["name"] == "caltech101"
    assert not re.search(r"[/\\~]|tmp", text)
