"""A summary is read as it was written; anything else in its place is refused in one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.synthetic_validation import make_validation

from tencrop.common.errors import BadInput
from tencrop.evaluation.intervals import ErrorIntervals, IntervalsByViews, RateIntervals
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
        intervals=ErrorIntervals(
            IntervalsByViews(RateIntervals((0.01, 0.2), (0.0, 0.1)), RateIntervals((0.02, 0.2), (0.0, 0.1))),
            IntervalsByViews(RateIntervals((0.3, 0.5), (0.1, 0.3)), RateIntervals((0.25, 0.45), (0.1, 0.2))),
        ),
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


def test_the_terminal_shows_every_error_with_its_interval_and_the_scores(summary: Summary) -> None:
    lines = text_report(summary).splitlines()
    assert lines[2:6] == [
        "center crop  top-1 error  10.00% (1.00% to 20.00%)   top-5 error   5.00% (0.00% to 10.00%)",
        "ten views    top-1 error   8.00% (2.00% to 20.00%)   top-5 error   4.00% (0.00% to 10.00%)",
        "center crop  top-1 error  40.00% (30.00% to 50.00%)   top-5 error  20.00% (10.00% to 30.00%)"
        "   (mean over classes)",
        "ten views    top-1 error  35.00% (25.00% to 45.00%)   top-5 error  15.00% (10.00% to 20.00%)"
        "   (mean over classes)",
    ]
    assert lines[8].startswith(
        "ten views    NLL 1.250   Brier 0.500   ECE 0.050 (perfectly calibrated: 0.020 to 0.040)"
    )
    assert lines[9].startswith("views that agree: 10 of 10: ")
    of = sum(row.images for row in summary.agreement)
    assert of == 17 and sum(int(words.split()[-2]) for words in lines[9].split("; ") if "no image" not in words) == of


@pytest.mark.parametrize("key", ["intervals", "scores", "agreement"])
def test_older_summary_without_a_score_is_read_and_a_damaged_one_is_refused(
    key: str, summary: Summary, tmp_path: Path
) -> None:
    document, file = summary.to_json(), tmp_path / "summary.json"
    file.write_text(json.dumps(document | {key: [{}]}))
    with pytest.raises(BadInput, match=r"summary\.json: damaged"):
        read_summary(file)
    del document[key]
    file.write_text(json.dumps(document))
    older = read_summary(file)
    assert older.to_json() == summary.to_json() | {key: [] if key == "agreement" else None} and text_report(older)


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
