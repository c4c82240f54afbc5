"""dataset/separate_output.py: what a command writes never becomes a part of the data set that it reads."""

from pathlib import Path

import pytest
from archives import jpeg

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.separate_output import check_separate
from tencrop.evaluation.evaluate import evaluate_source
from tencrop.model.contract import Label
from tencrop.runtime.classifier import Classifier


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set with classes of the embedded model, of which pizza/ is a link, and links to it and into it."""
    for number, name in enumerate(("data/laptop/0.jpg", "data/laptop/1.jpg", "elsewhere/pizza/0.jpg")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(number))
    (tmp_path / "data" / "pizza").symlink_to(tmp_path / "elsewhere" / "pizza")
    (tmp_path / "alias").symlink_to("data")
    (tmp_path / "inner").symlink_to(tmp_path / "data" / "laptop")
    return tmp_path / "data"


INSIDE = ["data", "data/out", "data/laptop/deep/out", "alias", "alias/out", "inner/out", "elsewhere/pizza/out"]


@pytest.mark.parametrize("named", ["data", "alias", "../{}/data"])
@pytest.mark.parametrize("out", [*INSIDE, "data/../data/out"])
def test_an_output_in_the_data_set_is_bad_input(
    data: Path, monkeypatch: pytest.MonkeyPatch, named: str, out: str
) -> None:
    monkeypatch.chdir(data.parent)
    for folder in (Path(out), data.parent / out):
        with pytest.raises(BadInput, match=r"lies in the data set .*; choose a folder elsewhere"):
            check_separate(Path(named.format(data.parent.name)), folder)


def test_a_class_folder_of_a_split_may_be_a_link(data: Path, tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "train").symlink_to(data)
    for out in (data / "out", tmp_path / "elsewhere" / "pizza" / "out"):
        with pytest.raises(BadInput, match="lies in the data set"):
            check_separate(tmp_path / "split", out)


@pytest.mark.parametrize("out", ["", "../{}"])
def test_an_output_around_the_data_set_is_bad_input(data: Path, out: str) -> None:
    with pytest.raises(BadInput, match=r"holds the data set .*; choose a folder of its own"):
        check_separate(data, data.parent / out.format(data.parent.name))


@pytest.mark.parametrize("out", ["out", "data2", "elsewhere/out", "data/../out"])
def test_an_output_beside_the_data_set_is_good(data: Path, out: str) -> None:
    check_separate(data, data.parent / out)


def test_a_refused_command_writes_nothing(data: Path, classifier: Classifier) -> None:
    before = sorted(data.parent.rglob("*"))
    source = open_source(data)
    assert source.labels == (Label("laptop", "laptop"), Label("pizza", "pizza"))
    for name in (*INSIDE, ""):
        with pytest.raises(BadInput, match="the data set"):
            prepare(source, data.parent / name, 0, lambda done: None)
        with pytest.raises(BadInput, match="the data set"):
            evaluate_source(source, classifier, out=data.parent / name)
    assert sorted(data.parent.rglob("*")) == before
