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
    assert [label.id for label in read_labels(file, 3)] == ["n02119789", "n02100735", "n02110185"]
    assert read_labels(file, 3)[0] == Label("n02119789", "kit fox, Vulpes macrotis")


@pytest.mark.parametrize(
    "lines", [("3d printer", "3d glasses"), ("4x4 car", "2d plotter"), ("n02119789 kit fox", "3d printer")]
)
def test_names_with_digits_are_names(lines: tuple[str, ...], tmp_path: Path) -> None:
    assert read_labels(write_lines(tmp_path, *lines), 2) == tuple(Label(line, line) for line in lines)


def test_names_are_ids_and_equal_names_get_numbers(tmp_path: Path) -> None:
    labels = read_labels(write_lines(tmp_path, "tabby cat", "crane", "red fox", "crane"), 4)
    assert [label.id for label in labels] == ["tabby cat", "crane #1", "red fox", "crane #3"] and labels[
        1
    ].name == "crane"


def test_wnid_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the wnid 'n02012849' occurs twice"):
        read_labels(write_lines(tmp_path, "n02012849 crane", "n03126707 crane", "n02012849 crane"), 3)


def test_without_a_file_classes_are_numbered() -> None:
    assert read_labels(None, 2) == (Label("0", "class 0"), Label("1", "class 1"))
