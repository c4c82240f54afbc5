"""importers/labels.py: a file has a line for each output, in the order of the outputs."""

from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.export.importers.labels import read_labels
from tencrop.model.contract import Label


def write_lines(folder: Path, *lines: str) -> Path:
    (folder / "names.txt").write_text("\n".join(lines))
    return folder / "names.txt"


def test_wnids_keep_the_order_of_the_outputs(tmp_path: Path) -> None:
    file = write_lines(
        tmp_path, "n02119789 kit fox, Vulpes macrotis", "n02100735 English setter", "n02110185 Siberian husky"
    )
    read = read_labels(file, 3)
    assert [label.id for label in read.labels] == ["n02119789", "n02100735", "n02110185"]
    assert read.labels[0] == Label("n02119789", "kit fox, Vulpes macrotis") and read.assumed == ()


def test_names_are_ids_and_a_line_says_so(tmp_path: Path) -> None:
    read = read_labels(write_lines(tmp_path, "tabby cat", "crane", "red fox", "crane"), 4)
    assert [label.id for label in read.labels] == ["tabby cat", "crane #1", "red fox", "crane #3"]
    assert read.labels[1].name == "crane"
    assert read.assumed == ("the names of names.txt as the ids of the classes (--labels)",)


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"names\.txt: names 2 classes, the net has 3 outputs"):
        read_labels(write_lines(tmp_path, "tabby cat", "crane"), 3)


def test_without_a_file_classes_are_numbered() -> None:
    read = read_labels(None, 2)
    assert read.labels == (Label("0", "class 0"), Label("1", "class 1"))
    assert read.assumed == ("classes numbered from 0, in the order of the outputs (--labels)",)
