"""training/record.py: what lies in a run folder, and that no run is written over."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.checkpoint import Checkpoint
from model.contract import Contract
from model.errors import BadInput
from model.kernels import kernels_png
from model.statistics import Statistics
from training.recipe import load, to_plain
from training.record import Run

RECIPE = load("source145")


def history(epochs: int) -> list[dict[str, float]]:
    return [
        {"epoch": e, "lr": 0.01, "train_error": 0.9 / e, "center_top1_error": 0.8 / e, "center_top5_error": 0.5 / e}
        for e in range(1, epochs + 1)
    ]


def checkpoint(epoch: int) -> Checkpoint:
    weights = {"conv1.weight": np.random.default_rng(epoch).normal(size=(20, 3, 5, 5)).astype(np.float32)}
    statistics = Statistics(np.zeros((3, 4, 4), np.float32), np.ones(3, np.float32), np.eye(3, dtype=np.float32))
    return Checkpoint(to_plain(RECIPE), Contract(), statistics, weights, {"epoch": epoch})


def written(out: Path, epochs: int) -> Run:
    run = Run(out, RECIPE, resume=False)
    for epoch in range(1, epochs + 1):
        run.epoch(history(epoch), checkpoint(epoch))
    return run


def test_the_recipe_is_written_as_resolved(tmp_path: Path) -> None:
    Run(tmp_path / "run", RECIPE, resume=False)
    assert load(str(tmp_path / "run" / "recipe.toml")) == RECIPE


def test_the_newest_two_checkpoints_stay(tmp_path: Path) -> None:
    written(tmp_path, 4)
    assert [path.name for path in Run.checkpoints(tmp_path)] == ["checkpoint-0003", "checkpoint-0004"]
    assert Checkpoint.load(tmp_path / "checkpoint-0004").progress == {"epoch": 4}


def test_metrics_csv_has_a_line_an_epoch(tmp_path: Path) -> None:
    written(tmp_path, 3)
    text = (tmp_path / "metrics.csv").read_text()
    assert "\r" not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == history(3)


def test_tensorboard_reads_the_same_numbers(tmp_path: Path) -> None:
    written(tmp_path, 3)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    scalars = events.Scalars("center_top1_error")
    assert [scalar.step for scalar in scalars] == [1, 2, 3]
    assert [scalar.value for scalar in scalars] == pytest.approx([0.8 / epoch for epoch in (1, 2, 3)])


def test_conv1_png_shows_the_newest_kernels(tmp_path: Path) -> None:
    written(tmp_path, 2)
    assert (tmp_path / "conv1.png").read_bytes() == kernels_png(checkpoint(2).weights["conv1.weight"])


def test_curves_png_is_a_picture_that_changes_with_the_history(tmp_path: Path) -> None:
    run = written(tmp_path, 1)
    first = (tmp_path / "curves.png").read_bytes()
    run.epoch(history(2), checkpoint(2))
    assert (tmp_path / "curves.png").read_bytes() != first
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (840, 480)


def test_a_folder_that_holds_a_run_is_refused_unless_it_is_resumed(tmp_path: Path) -> None:
    written(tmp_path, 1)
    recipe = (tmp_path / "recipe.toml").read_bytes()
    with pytest.raises(BadInput, match=f"{tmp_path}.*--resume"):
        Run(tmp_path, load("paper"), resume=False)
    assert (tmp_path / "recipe.toml").read_bytes() == recipe
    Run(tmp_path, RECIPE, resume=True).epoch(history(2), checkpoint(2))
    assert len(Run.checkpoints(tmp_path)) == 2


def test_a_folder_without_a_checkpoint_may_be_used_and_resumed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    Run(tmp_path, RECIPE, resume=False)
    Run(tmp_path, RECIPE, resume=True)
    assert Run.checkpoints(tmp_path) == []
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_half_written_checkpoints_are_not_counted(tmp_path: Path) -> None:
    written(tmp_path, 1)
    (tmp_path / "checkpoint-0002.partial").mkdir()
    assert [path.name for path in Run.checkpoints(tmp_path)] == ["checkpoint-0001"]
