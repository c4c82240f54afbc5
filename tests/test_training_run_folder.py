"""training/run_folder.py: the files of a run folder; no run is overwritten."""

import csv
import io
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import SafetensorError
from support.disk_calls import DiskCalls
from support.epoch_records import make_record
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.model.checkpoint import DOCUMENT, Checkpoint
from tencrop.model.contract import Contract
from tencrop.model.filter_picture import draw_filters
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.model.run_progress import EPOCH_START
from tencrop.training.recipe import load, to_plain
from tencrop.training.run_folder import RunFolder

RECIPE = load("source145")


def history(epochs: int) -> list[dict[str, float]]:
    return [asdict(make_record(e, 0.9 / e, 0.8 / e, 0.5 / e)) for e in range(1, epochs + 1)]


def checkpoint(epochs: int, steps: int = 0) -> Checkpoint:
    weights = {"conv1.weight": np.random.default_rng(epochs).normal(size=(20, 3, 5, 5)).astype(np.float32)}
    statistics = PixelStatistics(np.zeros((3, 4, 4), np.float32), np.ones(3, np.float32), np.eye(3, dtype=np.float32))
    progress: dict[str, Any] = {"history": history(epochs)}
    if steps:
        progress["part"] = asdict(replace(EPOCH_START, steps=steps))
    return Checkpoint(to_plain(RECIPE), Contract(), statistics, weights, progress)


def read_progress(folder: Path) -> object:
    return json.loads((folder / DOCUMENT).read_text())["progress"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path, RECIPE) as run:
        yield run


def names(out: Path) -> list[str]:
    return [path.name for path in list_checkpoints(out)]


def test_the_recipe_is_written_as_resolved(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", RECIPE):
        assert load(str(tmp_path / "run" / "recipe.toml")) == RECIPE


def test_the_newest_two_checkpoints_stay(run: RunFolder, tmp_path: Path) -> None:
    for epochs in (1, 2, 3, 4):
        run.save(checkpoint(epochs))
    assert names(tmp_path) == ["checkpoint-0003", "checkpoint-0004"]
    assert read_progress(tmp_path / "checkpoint-0004") == {"history": history(4)}


def test_checkpoints_within_an_epoch_sort_between_those_of_its_ends(run: RunFolder, tmp_path: Path) -> None:
    run.save(checkpoint(0, steps=7))
    assert names(tmp_path) == ["checkpoint-0000+000007"]
    run.save(checkpoint(1))
    run.save(checkpoint(1, steps=120))
    assert names(tmp_path) == ["checkpoint-0001", "checkpoint-0001+000120"]
    run.save(checkpoint(1, steps=1200))
    assert names(tmp_path) == ["checkpoint-0001+000120", "checkpoint-0001+001200"]
    run.save(checkpoint(2))
    assert names(tmp_path) == ["checkpoint-0001+001200", "checkpoint-0002"]


def test_an_unfinished_epoch_adds_no_line_and_no_point(run: RunFolder, tmp_path: Path) -> None:
    run.save(checkpoint(1))
    drawn = ("metrics.csv", "curves.png", "conv1.png")
    for name in drawn:
        (tmp_path / name).write_text("as it was")
    run.save(checkpoint(1, steps=120))
    assert {(tmp_path / name).read_text() for name in drawn} == {"as it was"}
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("center_top1_error")] == [1]


def test_a_run_that_ends_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = threading.enumerate()
    with RunFolder(tmp_path, RECIPE):
        assert threading.enumerate() != before  # TensorBoard's
    assert threading.enumerate() == before


def test_metrics_csv_has_a_line_an_epoch(run: RunFolder, tmp_path: Path) -> None:
    for epochs in (1, 2, 3):
        run.save(checkpoint(epochs))
    text = (tmp_path / "metrics.csv").read_text()
    assert "\r" not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == history(3)


def test_tensorboard_reads_the_same_numbers(run: RunFolder, tmp_path: Path) -> None:
    for epochs in (1, 2, 3):
        run.save(checkpoint(epochs))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    scalars = events.Scalars("center_top1_error")
    assert [scalar.step for scalar in scalars] == [1, 2, 3]
    assert [scalar.value for scalar in scalars] == pytest.approx([0.8 / epoch for epoch in (1, 2, 3)])


def test_conv1_png_shows_the_newest_kernels(run: RunFolder, tmp_path: Path) -> None:
    for epochs in (1, 2):
        run.save(checkpoint(epochs))
    assert (tmp_path / "conv1.png").read_bytes() == draw_filters(checkpoint(2).weights["conv1.weight"])


def test_curves_png_is_a_picture_that_changes_with_the_history(run: RunFolder, tmp_path: Path) -> None:
    run.save(checkpoint(1))
    first = (tmp_path / "curves.png").read_bytes()
    run.save(checkpoint(2))
    assert (tmp_path / "curves.png").read_bytes() != first
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (840, 480)


def test_every_file_of_a_run_is_on_the_disk_when_an_epoch_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    with RunFolder(tmp_path, RECIPE) as run:
        run.save(checkpoint(1))
    for name in ("recipe.toml", "metrics.csv", "conv1.png", "curves.png", "checkpoint-0001/checkpoint.json"):
        calls.check(tmp_path / name)


def test_a_folder_that_holds_a_run_is_refused_unless_it_is_resumed(run: RunFolder, tmp_path: Path) -> None:
    run.save(checkpoint(1))
    with pytest.raises(BadInput, match=f"{tmp_path}.*--resume"):
        RunFolder.find_resumable(tmp_path, resume=False)
    assert RunFolder.find_resumable(tmp_path, resume=True) == [tmp_path / "checkpoint-0001"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_without_a_checkpoint_may_be_used_and_resumed(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert RunFolder.find_resumable(tmp_path, resume) == []
    with RunFolder(tmp_path, RECIPE):
        assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    with RunFolder(tmp_path, RECIPE):
        before = (tmp_path / "recipe.toml").read_bytes()
        with pytest.raises(BadInput, match="another process uses this folder"):
            RunFolder(tmp_path, replace(RECIPE, seed=7))
        assert (tmp_path / "recipe.toml").read_bytes() == before
    with RunFolder(tmp_path, RECIPE):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"file/run: cannot be used \(Not a directory\)"):
        RunFolder(tmp_path / "file" / "run", RECIPE)


def test_checkpoints_are_listed_by_their_numbers(tmp_path: Path) -> None:
    for name in ("checkpoint-10000", "checkpoint-9999+1000000", "checkpoint-9999", "checkpoint-9999+999999"):
        (tmp_path / name).mkdir()
    assert names(tmp_path) == [
        "checkpoint-9999",
        "checkpoint-9999+999999",
        "checkpoint-9999+1000000",
        "checkpoint-10000",
    ]


def test_a_run_is_resumed_from_the_checkpoint_that_is_named(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.save(checkpoint(1))
    run.save(checkpoint(1, steps=7))
    assert RunFolder.find_resumable(tmp_path, False, tmp_path / "checkpoint-0001") == [tmp_path / "checkpoint-0001"]
    monkeypatch.chdir(tmp_path)
    for asked in (Path("checkpoint-0001+000007"), tmp_path / "." / "checkpoint-0001+000007"):
        assert RunFolder.find_resumable(tmp_path, True, asked) == [*list_checkpoints(tmp_path)]
    with pytest.raises(
        BadInput, match=r"--resume-from elsewhere: not among .*\(checkpoint-0001, checkpoint-0001\+000007\)"
    ):
        RunFolder.find_resumable(tmp_path, True, Path("elsewhere"))


def test_newer_checkpoints_are_set_aside_and_none_is_lost(
    run: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        run.save(checkpoint(1))
        run.save(checkpoint(1, steps=7))
        run.set_aside_after(tmp_path / "checkpoint-0001")
        assert names(tmp_path) == ["checkpoint-0001"]
        shutil.rmtree(tmp_path / "checkpoint-0001")
    aside = ["checkpoint-0001+000007.aside1", "checkpoint-0001+000007.aside2"]
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == aside
    assert caplog.messages == [f"--resume-from: {tmp_path / aside[0][:-7]} is now {name}" for name in aside]


def test_tensorboard_hides_the_epochs_that_are_trained_again(tmp_path: Path) -> None:
    with RunFolder(tmp_path, RECIPE) as run:
        for epochs in (1, 2, 3):
            run.save(checkpoint(epochs))
    shutil.rmtree(tmp_path / "checkpoint-0003")
    with RunFolder(tmp_path, RECIPE, epoch=3) as run:
        run.save(checkpoint(3))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("center_top1_error")] == [1, 2, 3]


def test_asking_whether_a_run_exists_writes_nothing(tmp_path: Path) -> None:
    assert RunFolder.find_resumable(tmp_path / "run", resume=True) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("half", ["checkpoint-0002.partial", "checkpoint-0001+000120.partial"])
def test_half_written_checkpoints_are_not_counted(run: RunFolder, tmp_path: Path, half: str) -> None:
    run.save(checkpoint(1))
    (tmp_path / half).mkdir()
    assert names(tmp_path) == ["checkpoint-0001"]


@pytest.mark.parametrize("copy", ["checkpoint-0001.keep", "checkpoint-best", "checkpoint-1"])
def test_a_copy_of_a_checkpoint_is_neither_resumed_nor_removed(run: RunFolder, tmp_path: Path, copy: str) -> None:
    run.save(checkpoint(1))
    shutil.copytree(tmp_path / "checkpoint-0001", tmp_path / copy)
    for epochs in (2, 3, 4):
        run.save(checkpoint(epochs))
    assert names(tmp_path) == ["checkpoint-0003", "checkpoint-0004"] and (tmp_path / copy).is_dir()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_checkpoint_that_cannot_be_written_is_failed_work_and_the_one_before_stays(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    run.save(checkpoint(1))
    monkeypatch.setattr("tencrop.model.checkpoint.save_file", full)
    with pytest.raises(WorkFailed, match=r"checkpoint-0002: .*No space left on device.*--resume"):
        run.save(checkpoint(2))
    assert names(tmp_path) == ["checkpoint-0001"]
    assert read_progress(tmp_path / "checkpoint-0001") == {"history": history(1)}
