"""`tencrop predict`: files, folders, patterns and stdin, in every form of output; one bad image stops no other."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.calibrated import TINY
from support.command_line import call, log_to_stderr

from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier


@pytest.fixture
def folder(photographs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: photographs at two depths, a broken one, and files that are no images."""
    for name in ("b.jpg", "a.jpg", "below/c.jpg", "below/.hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(photographs["flower"].read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    return call(monkeypatch, "predict", *arguments, "--precision", "fp32", "--top", "2")


def names(printed: str) -> list[str]:
    return [json.loads(line)["image"] for line in printed.splitlines()]


def test_images_are_named_in_the_order_of_the_arguments(
    photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in (*photographs.values(), photographs["china"]) for _ in range(3)]
    assert predict(monkeypatch, *files, "--json") == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["image"] for answer in answers] == files and all(len(answer["top"]) == 2 for answer in answers)
    assert predict(monkeypatch, files[0]) == 0 and 0 < answers[0]["agreement"] < 10
    assert capsys.readouterr().out.splitlines()[-1] == f"  agreement of the views: {answers[0]['agreement']} of 10"


def test_a_bad_image_is_an_error_in_its_place_and_the_others_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = io.StringIO()
    monkeypatch.setattr("sys.stdout", both)
    monkeypatch.setattr("sys.stderr", both)
    assert predict(monkeypatch, "a.jpg", "broken.jpg", "missing.jpg", "b.jpg") == 1
    lines = [line for line in both.getvalue().splitlines() if not line.startswith(" ")]
    assert lines[0] == "a.jpg" and lines[3] == "b.jpg" and len(lines) == 4
    assert lines[1].startswith("tencrop: broken.jpg: ") and lines[2].startswith("tencrop: missing.jpg: No such file")


def test_a_folder_stands_for_the_images_in_it_and_below(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr(monkeypatch)
    (folder / "broken.jpg").unlink()
    assert predict(monkeypatch, str(folder), "--json") == 0
    printed = capsys.readouterr()
    assert names(printed.out) == [str(folder / name) for name in ("a.jpg", "b.jpg", "below/c.jpg")]
    assert printed.err == "3 images\n"


def test_patterns_that_a_shell_left_are_matched(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "[a].jpg").write_bytes((folder / "a.jpg").read_bytes())
    assert predict(monkeypatch, "[ab].jpg", "**/c.jpg", "[a].jpg", "--json") == 0
    assert names(capsys.readouterr().out) == ["a.jpg", "b.jpg", "below/c.jpg", "[a].jpg"]


def test_a_hyphen_is_the_image_on_stdin(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for content, code, said in ((folder / "a.jpg").read_bytes(), 0, ""), (b"", 1, "tencrop: -: the image is empty"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert predict(monkeypatch, "-", "a.jpg", "--json") == code
        printed = capsys.readouterr()
        answers = [json.loads(line) for line in printed.out.splitlines()]
        assert [answer["image"] for answer in answers] == (["-", "a.jpg"] if code == 0 else ["a.jpg"])
        assert answers[0]["top"] == answers[-1]["top"] and printed.err.startswith(said)


def test_csv_has_a_row_for_each_label(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / 'comma, "quote".jpg').write_bytes((folder / "a.jpg").read_bytes())
    arguments = ("a.jpg", "broken.jpg", 'comma, "quote".jpg')
    assert predict(monkeypatch, *arguments, "--json") == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert predict(monkeypatch, *arguments, "--csv") == 1
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["image", "rank", "id", "label", "probability", "agreement"]
    assert rows == [
        [answer["image"], str(rank), *(str(guess[key]) for key in header[2:5]), str(answer["agreement"])]
        for answer in answers
        for rank, guess in enumerate(answer["top"], 1)
    ]


def test_a_coverage_adds_the_set_of_labels(
    classifier: Classifier, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = classifier.predict("a.jpg", top=2, coverage=0.95)
    wanted = found.set or []
    assert len(wanted) > 2
    assert predict(monkeypatch, "a.jpg", "--json", "--coverage", "0.95") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [guess["id"] for guess in answer["set"]] == [guess.id for guess in wanted]
    assert answer["top"] == answer["set"][:2] and answer["set"][0]["confidence"] == wanted[0].confidence
    assert predict(monkeypatch, "a.jpg", "--csv", "--coverage", "0.95") == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header[-2:] == ["confidence", "in_set"] and len(rows) == len(wanted)
    assert [row[-2:] for row in rows] == [[str(guess.confidence), "True"] for guess in wanted]
    assert predict(monkeypatch, "a.jpg", "--coverage", "0.95") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"  set: {', '.join(guess.label for guess in wanted)}"


def test_a_coverage_without_a_calibration_is_refused_before_the_first_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, coverage, why in (
        (str(TINY), "0.9", "is not calibrated"),
        (str(EMBEDDED), "nan", "is calibrated for 0.8"),
    ):
        assert predict(monkeypatch, "a.jpg", "--csv", "--model", model, "--coverage", coverage) == 2
        printed = capsys.readouterr()
        assert why in printed.err and not printed.out


def test_images_are_read_as_they_are_answered(classifier: Classifier, photographs: dict[str, Path]) -> None:
    """No more than two forward passes ahead, however many there are."""
    read = []

    def images() -> Iterator[Path]:
        while True:
            read.append(1)
            yield photographs["china"]

    answers = classifier.predict_each(images())
    for done in range(1, 10):
        next(answers)
        assert len(read) < done + 8


def test_a_bar_on_stderr_does_not_mix_with_answers_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stdout_is_terminal in (True, False):
        streams = {name: io.StringIO() for name in ("stdout", "stderr")}
        streams["stderr"].isatty = lambda: True  # type: ignore[method-assign]
        streams["stdout"].isatty = lambda seen=stdout_is_terminal: seen  # type: ignore[misc,method-assign]
        for name, stream in streams.items():
            monkeypatch.setattr(sys, name, stream)
        assert predict(monkeypatch, "a.jpg") == 0
        assert ("predicting" in streams["stderr"].getvalue()) is not stdout_is_terminal
