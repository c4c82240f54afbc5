"""Several data sets of one command: their names, and what an error in one of them does."""

import json
from pathlib import Path

import pytest
from support.command_line import call
from support.imagenet import ImageNetModel, draw_all, read_wnids

from tencrop.commands.several_sets import SeveralSets
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.runtime.classifier import Classifier


def refuse_b(name: str) -> str:
    if name == "b":
        raise WorkFailed("b: cannot be done")
    return name.upper()


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["x/a", "y/b"], ["a", "b"]),
        (["x/val", "y/val", "x/b"], ["x/val", "y/val", "x/b"]),
        (["a-b/c", "a/b-c"], ["c", "b-c"]),
        (["x/a"], ["a"]),
    ],
    ids=str,
)
def test_names_are_the_shortest_ends_that_differ(folders: list[str], names: list[str]) -> None:
    assert list(SeveralSets([Path(folder) for folder in folders]).folders) == names


def test_a_folder_that_is_named_twice_is_refused() -> None:
    with pytest.raises(BadInput, match=r"x/\.\./a: named twice"):
        SeveralSets([Path("a"), Path("x/../a")])


def test_an_error_in_one_of_several_is_told_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    sets = SeveralSets([Path("a"), Path("b"), Path("c")])
    assert sets.each(sets.folders, refuse_b) == {"a": "A", "c": "C"}
    assert sets.errors == {"b": "b: cannot be done"}
    assert capsys.readouterr().err == "tencrop: b: cannot be done\n"


def test_an_error_in_a_single_one_ends_the_command() -> None:
    sets = SeveralSets([Path("b")])
    with pytest.raises(WorkFailed, match="cannot be done"):
        sets.each(sets.folders, refuse_b)


@pytest.fixture
def model(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> ImageNetModel:
    """What the command opens instead of a file."""
    model = ImageNetModel(classifier, read_wnids("imagenette"))
    monkeypatch.setattr("tencrop.runtime.ensemble.open_predictor", lambda *_: model)
    return model


def test_several_data_sets_give_one_table_and_a_report_each(
    model: ImageNetModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wnids = read_wnids("imagenette")
    index = [model.wnids.index(wnid) for wnid in wnids]
    whole = {f"x/val/{wnid}/1.png": (number, 0) for wnid, number in zip(wnids, index, strict=True)}
    part = {f"y/val/{wnid}/1.png": (index[0], 0) for wnid in wnids[:4]}
    draw_all(tmp_path, whole | part)
    names = ("x/val", "y/val", "x/gone")
    reports = tmp_path / "reports"
    command = ("evaluate", *(str(tmp_path / name) for name in names), "--out", str(reports))
    assert call(monkeypatch, *command) == 1
    told = capsys.readouterr()
    assert f"tencrop: {tmp_path}/x/gone: no such folder" in told.err
    rows = [line.split("  ") for line in told.out.splitlines()]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        [
            "data set",
            "images",
            "center crop top-1 error",
            "center crop top-5 error",
            "ten views top-1 error",
            "ten views top-5 error",
        ],
        ["x/val (Imagenette)", "10", "0.00%", "0.00%", "0.00%", "0.00%"],
        ["y/val", "4", "75.00%", "0.00%", "75.00%", "0.00%"],
    ]
    document = json.loads((reports / "sets.json").read_text())
    assert document["sets"]["y/val"] == json.loads((reports / "y/val/summary.json").read_text())
    assert list(document["errors"]) == ["x/gone"]
    assert (reports / "x/val/report.html").is_file()
    assert call(monkeypatch, *command, "--resume", "--json") == 1
    assert json.loads(capsys.readouterr().out) == document
