"""The plan of an evaluation: which images of a data set, and which class of the model each one has."""

import json
import shutil
from pathlib import Path

import pytest
from support.crops import write_crops

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.evaluation.evaluate import evaluate
from tencrop.evaluation.plan import plan_evaluation
from tencrop.runtime.classifier import Classifier


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, Path]) -> Path:
    """Crops of the two photographs under two of the model's classes, 19 images, one of them broken."""
    return write_crops(tmp_path / "photos", photographs, 18, broken="pagoda/broken.jpg")


def test_class_that_the_model_does_not_know_is_refused(folder: Path, classifier: Classifier) -> None:
    (folder / "sunflower").rename(folder / "n11939491")
    with pytest.raises(BadInput, match="'n11939491' is none of the model's"):
        plan_evaluation(open_source(folder), classifier)


@pytest.mark.parametrize(
    ("inside", "holdout", "images", "n"),
    [("", 1, "all", 19), ("", 1.0, "all", 19), ("", 0.3, 0.3, 6), ("val", 0.3, "own", 19)],
)
def test_summary_says_which_images_were_used(
    inside: str, holdout: float, images: str | float, n: int, folder: Path, classifier: Classifier, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "data" / inside)
    plan = plan_evaluation(open_source(tmp_path / "data"), classifier, holdout, None)
    evaluate(plan, classifier, tmp_path / "run")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["images"], summary["subset"], summary["n"]) == (images, images, n)
    assert summary["among"] == summary["available"] == n


def test_limit_spreads_evenly(folder: Path, classifier: Classifier) -> None:
    plan = plan_evaluation(open_source(folder), classifier, limit=4)
    ids = [entry.id for entry in plan.entries]
    assert plan.available == 19 and plan_evaluation(open_source(folder), classifier).available == 19
    assert ids == ["pagoda/broken.jpg", "pagoda/china03.jpg", "pagoda/china08.jpg", "sunflower/flower04.jpg"]
