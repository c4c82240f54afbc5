"""The plan of an evaluation: which images of a data set, and which class of the model each one has."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.crops import write_crops
from support.pixel_model import PixelModel

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source_options import SourceOptions
from tencrop.evaluation.evaluate import evaluate
from tencrop.evaluation.plan import plan_evaluation
from tencrop.evaluation.text_report import text_report
from tencrop.model.contract import Label
from tencrop.runtime.classifier import Classifier


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, Path]) -> Path:
    """Crops of the two photographs under two of the model's classes, 19 images, one of them broken."""
    return write_crops(tmp_path / "photos", photographs, 18, broken="pagoda/broken.jpg")


def test_class_that_the_model_does_not_know_is_refused(folder: Path, classifier: Classifier) -> None:
    (folder / "sunflower").rename(folder / "n11939491")
    with pytest.raises(BadInput, match="'n11939491' is none of the model's") as raised:
        plan_evaluation(open_source(folder), classifier)
    assert "1 of 2 classes match; the model's ids are like 'Faces'" in raised.value.what
    assert "import the model with a --labels FILE that has ids like 'n11939491'" in raised.value.advice


def test_a_file_of_labels_gives_class_names_the_wnids_of_the_model(
    folder: Path, classifier: Classifier, tmp_path: Path
) -> None:
    wnids = [Label(f"n{index:08d}", label.name) for index, label in enumerate(classifier.labels)]
    metadata = classifier.file.metadata
    contract = replace(metadata.contract, labels=tuple(wnids))
    model = replace(classifier, file=replace(classifier.file, metadata=replace(metadata, contract=contract)))
    with pytest.raises(BadInput, match="'pagoda' is none of the model's") as raised:
        plan_evaluation(open_source(folder), model)
    assert "0 of 2 classes match; the model's ids are like 'n00000000'" in raised.value.what
    assert '--labels FILE with lines "n00000000 name"' in raised.value.advice
    (tmp_path / "words").write_text("".join(f"{label.id} {label.name}, and more\n" for label in wnids))
    plan = plan_evaluation(open_source(folder, SourceOptions(tmp_path / "words")), model)
    assert {classifier.labels[label].id for label in plan.labels} == {"pagoda", "sunflower"}


def test_a_part_of_the_models_classes_is_told(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    data = open_source(folder)
    summary = evaluate(plan_evaluation(data, classifier, limit=1), PixelModel(classifier), tmp_path / "run")
    assert (summary.classes, summary.model_classes) == (2, 101)
    assert "2 of the model's 101 classes" in text_report(summary)
    assert "<dt>classes</dt><dd>2 of the model's 101</dd>" in (tmp_path / "run/report.html").read_text()
    document = json.loads((tmp_path / "run/summary.json").read_text())
    assert (document["classes"], document["model_classes"]) == (2, 101)


@pytest.mark.parametrize(
    ("inside", "holdout", "images", "n"),
    [("", 1, "all", 19), ("", 1.0, "all", 19), ("", 0.3, 0.3, 6), ("val", 0.3, "own", 19)],
)
def test_summary_says_which_images_were_used(
    inside: str, holdout: float, images: str | float, n: int, folder: Path, classifier: Classifier, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "data" / inside)
    plan = plan_evaluation(open_source(tmp_path / "data"), classifier, holdout, None)
    evaluate(plan, PixelModel(classifier), tmp_path / "run")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["images"], summary["subset"], summary["n"]) == (images, images, n)
    assert summary["among"] == summary["available"] == n


def test_limit_spreads_evenly(folder: Path, classifier: Classifier) -> None:
    plan = plan_evaluation(open_source(folder), classifier, limit=4)
    ids = [entry.id for entry in plan.entries]
    assert plan.available == 19 and plan_evaluation(open_source(folder), classifier).available == 19
    assert ids == ["pagoda/broken.jpg", "pagoda/china03.jpg", "pagoda/china08.jpg", "sunflower/flower04.jpg"]
