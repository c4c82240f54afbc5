"""experiments/caltech.py: test images train no net and change no rate; differences compare equal folds and seeds."""

import argparse
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from experiments import caltech as command
from experiments.caltech import FOR_PLATEAU, TESTED, draw_fold, link_images, training_entries, training_part
from experiments.caltech_results import accuracy_table, difference_table, group_runs
from tencrop.common.errors import Stopped
from tencrop.dataset.account import Account
from tencrop.dataset.folder import Folder, open_folder
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.source import ignore_progress

SIZES = {"few": 31, "many": 95}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of tiny images."""
    root = tmp_path_factory.mktemp("photos")
    for name, size in SIZES.items():
        (root / name).mkdir()
        for number in range(size):
            Image.new("L", (1, 1)).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def fold(photos: Path, tmp_path: Path) -> Folder:
    """The first fold at 30 images per class, as a data set of links."""
    link_images(draw_fold(photos, 30, 0, 0), photos, tmp_path)
    return open_folder(tmp_path, None, ignore_progress)


def test_a_fold_draws_the_training_images_of_each_class_and_others_as_test_images(photos: Path) -> None:
    parts = draw_fold(photos, 30, 0, 0)
    assert len(parts["train"]) == 60 and not {*parts["train"]} & {*parts["val"]}
    assert len(parts["val"]) == 1 + TESTED
    assert draw_fold(photos, 30, 0, 0) == parts and draw_fold(photos, 30, 1, 0) != parts


def test_choosing_a_schedule_leaves_the_test_images_alone(photos: Path) -> None:
    test, choosing = {*draw_fold(photos, 30, 0, 0)["val"]}, draw_fold(photos, 30, 0, 5)
    assert [len(choosing[part]) for part in ("train", "val")] == [50, 10]
    assert not test & {*choosing["train"], *choosing["val"]}


def test_training_validates_on_a_few_test_images_only_for_its_curves(fold: Folder) -> None:
    held = choose_holdout(fold.entries, 0)
    seen = training_entries(fold.entries, held, 0)
    assert [entry for entry in seen if not entry.validation] == [
        entry for entry, test in zip(fold.entries, held, strict=True) if not test
    ]
    assert 0 < sum(bool(entry.validation) for entry in seen) < held.sum() / 4


@pytest.mark.parametrize("held_apart", [0, FOR_PLATEAU])
def test_the_account_of_what_a_training_sees_adds_up(fold: Folder, held_apart: int) -> None:
    part = training_part(fold, choose_holdout(fold.entries, 0), held_apart)
    assert Account.close(part.inventory, len(part.entries), []).taken == len(part.entries) < len(fold.entries)


def test_a_plateau_rule_sees_no_test_image(fold: Folder) -> None:
    seen = training_entries(fold.entries, choose_holdout(fold.entries, 0), FOR_PLATEAU)
    assert all(entry.id.startswith("train/") for entry in seen) and sum(bool(entry.validation) for entry in seen) == 4


def test_differences_compare_equal_folds_and_seeds() -> None:
    def result(recipe: str, seed: int, top1: float) -> dict[str, object]:
        views = {"top1": top1, "top5": 0.5, "per_class": top1, "per_class_with_enough": None}
        both = {"center": views, "ten_crop": views}
        return {
            "recipe": recipe,
            "each": 15,
            "fold": 0,
            "set": [f"seed={seed}"],
            "epochs": 40,
            "training_seconds": 60,
            **both,
        }

    rows = group_runs(
        [result("source145", 0, 0.4), result("no_lrn", 1, 0.25), result("source145", 1, 0.3), result("no_lrn", 0, 0.38)]
    )
    assert "| source145 | 15 | 2 | 35.0 (30.0 to 40.0) |" in accuracy_table(rows)[2]
    assert difference_table(rows, "source145")[2:] == ["| no_lrn | 15 | +5.0, +2.0 | +5.0, +2.0 | +1.4 |"]


def test_a_fold_that_a_signal_stops_exits_as_train_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: argparse.Namespace) -> None:
        raise Stopped("stopped after epoch 3", number=signal.SIGINT)

    monkeypatch.setattr(command, "run_fold", stop)
    monkeypatch.setattr(sys, "argv", ["caltech", "--photos", "photos", "--out", "out"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "stopped after epoch 3\n"
