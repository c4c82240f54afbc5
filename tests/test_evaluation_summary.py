"""A summary is read as it was written; anything else in its place is refused in one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.synthetic_validation import make_validation

from tencrop.common.errors import BadInput
from tencrop.evaluation.summary import EvaluatedModel, Summary, read_summary
from tencrop.evaluation.text_report import text_report
from tencrop.model.measured_errors import ErrorRates, ErrorsByViews
from tencrop.model.published_errors import PublishedError


@pytest.fixture
def summary() -> Summary:
    """A summary with every field set."""
    members = (EvaluatedModel("one", "c3" * 32), EvaluatedModel("two", "d4" * 32))
    return replace(
        make_validation(b"", 20, 9, undecodable=(3,), no_answer=(4, 5)).summary,
        model=EvaluatedModel("one + two", "a1" * 32, members),
        subset=0.15,
        available=100,
        classes=10,
        model_classes=1000,
        mean_over_classes=ErrorsByViews(ErrorRates(0.4, 0.2), ErrorRates(0.35, 0.15)),
        published=(PublishedError("ILSVRC-2012 validation", "ten_crop", 40.66, 18.21),),
    )


def test_summary_is_read_as_it_was_written(summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(summary.to_json()))
    assert read_summary(tmp_path / "summary.json") == summary


@pytest.mark.parametrize("names", [("images", "among"), ("subset", "available")])
def test_older_or_newer_names_are_enough(names: tuple[str, str], summary: Summary) -> None:
    document = summary.to_json()
    assert document["images"] == document["subset"] == 0.15 and document["among"] == document["available"] == 100
    for name in names:
        del document[name]
    assert Summary.from_json(document) == summary


def test_mean_over_classes_has_its_promised_keys(summary: Summary) -> None:
    assert summary.to_json()["mean_over_classes"] == {
        "center": {"top1_error": 0.4, "top5_error": 0.2},
        "ten_crop": {"top1_error": 0.35, "top5_error": 0.15},
    }


def test_older_summary_without_means_over_classes_is_read(summary: Summary) -> None:
    document = summary.to_json()
    del document["mean_over_classes"]
    assert Summary.from_json(document) == replace(summary, mean_over_classes=None)
    assert "mean over classes" in text_report(summary)
    assert "mean over classes" not in text_report(Summary.from_json(document))


@pytest.mark.parametrize("means", [{}, {"center": {}}, 0.4, {"center": {"top1_error": 2, "top5_error": 0}}], ids=str)
def test_damaged_means_over_classes_are_refused(means: object, summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(summary.to_json() | {"mean_over_classes": means}))
    with pytest.raises(BadInput, match=r"summary\.json: damaged"):
        read_summary(tmp_path / "summary.json")


@pytest.mark.parametrize("key", ["n", "undecodable", "ten_crop", "engine", "model", "dataset", "expect"])
def test_summary_without_a_key_is_refused(key: str, summary: Summary, tmp_path: Path) -> None:
    document = summary.to_json()
    del document[key]
    (tmp_path / "summary.json").write_text(json.dumps(document))
    with pytest.raises(BadInput, match=r"summary\.json: damaged, or not of a validation; evaluate again"):
        read_summary(tmp_path / "summary.json")


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"n": 1}'])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(BadInput, match=r"summary\.json: damaged"):
        read_summary(tmp_path / "summary.json")
