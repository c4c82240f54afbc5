"""dataset/layouts.py: a folder of class folders -> classes, ids and labels; what it cannot read is one line of BadInput."""

from pathlib import Path

import pytest

from dataset.layouts import Entry, open_folder, read_names
from model.contract import Label
from model.errors import BadInput


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_classes_are_sorted_by_folder_name_and_images_by_path(tmp_path: Path) -> None:
    folder = open_folder(files(tmp_path, "b/2.png", "B/1.jpg", "a/z.jpg", "a/10.jpg", "a/9.jpg"))
    assert folder.labels == (Label("B", "B"), Label("a", "a"), Label("b", "b"))
    assert list(folder.entries) == [
        Entry("B/1.jpg", 0),
        Entry("a/10.jpg", 1),
        Entry("a/9.jpg", 1),
        Entry("a/z.jpg", 1),
        Entry("b/2.png", 2),
    ]


def test_underscores_of_a_folder_become_spaces_of_its_name(tmp_path: Path) -> None:
    assert open_folder(files(tmp_path, "sea_horse/1.jpg")).labels == (Label("sea_horse", "sea horse"),)


def test_images_may_lie_deeper_and_have_any_listed_suffix_in_any_case(tmp_path: Path) -> None:
    names = ["a/1.JPG", "a/2.jpeg", "a/3.Png", "a/4.webp", "a/5.gif", "a/6.bmp", "a/7.tif", "a/8.tiff", "a/deep/er/9.jpg"]
    assert [entry.id for entry in open_folder(files(tmp_path, *names)).entries] == names


def test_hidden_files_other_files_and_loose_files_are_not_images(tmp_path: Path) -> None:
    root = files(tmp_path, "a/1.jpg", "a/.2.jpg", "a/notes.txt", "a/README", "loose.jpg", ".cache/3.jpg")
    (root / "a" / "folder.jpg").mkdir()
    assert [entry.id for entry in open_folder(root).entries] == ["a/1.jpg"]


def test_read_gives_the_files_bytes(tmp_path: Path) -> None:
    folder = open_folder(files(tmp_path, "a/1.jpg", "b/2.jpg"))
    assert [folder.read(entry) for entry in folder.entries] == [b"a/1.jpg", b"b/2.jpg"]


def test_a_file_that_is_gone_is_an_os_error(tmp_path: Path) -> None:
    folder = open_folder(files(tmp_path, "a/1.jpg"))
    (tmp_path / "a" / "1.jpg").unlink()
    with pytest.raises(OSError, match=r"1\.jpg"):
        folder.read(folder.entries[0])


def test_a_labels_file_gives_the_words(tmp_path: Path) -> None:
    root = files(tmp_path / "data", "n01/1.jpg", "n02/1.jpg")
    names = tmp_path / "words.txt"
    names.write_text("n02 goldfish, Carassius auratus\n\nn01\ttench  \nn03 not here\n", encoding="utf-8")
    assert open_folder(root, names).labels == (Label("n01", "tench"), Label("n02", "goldfish, Carassius auratus"))


def test_words_may_be_any_unicode(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n01 naïve 猫\n", encoding="utf-8")
    assert read_names(tmp_path / "words.txt") == {"n01": "naïve 猫"}


def test_a_byte_order_mark_is_not_part_of_the_first_id(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(b"\xef\xbb\xbfn01 tench\n")
    assert read_names(tmp_path / "words.txt") == {"n01": "tench"}


def test_a_missing_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere: no such folder"):
        open_folder(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a\.jpg: no such folder"):
        open_folder(files(tmp_path, "a.jpg") / "a.jpg")


def test_a_folder_of_images_without_classes_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no class folders"):
        open_folder(files(tmp_path, "1.jpg", "2.jpg", ".git/3.jpg"))


def test_a_class_without_an_image_is_bad_input_naming_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="b: a class without an image"):
        open_folder(files(tmp_path, "a/1.jpg", "b/notes.txt"))


def test_a_class_that_the_labels_file_misses_is_bad_input_naming_it(tmp_path: Path) -> None:
    root = files(tmp_path / "data", "n01/1.jpg", "n02/1.jpg", "n03/1.jpg")
    (tmp_path / "words.txt").write_text("n01 tench\n")
    with pytest.raises(BadInput, match=r"words\.txt: no words for 'n02' \(2 of 3"):
        open_folder(root, tmp_path / "words.txt")


def test_a_line_without_words_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n01 tench\nn02\n")
    with pytest.raises(BadInput, match="'n02' has no words"):
        read_names(tmp_path / "words.txt")


@pytest.mark.parametrize("content", [b"n01 t\xffnch\n", None])
def test_a_labels_file_that_is_no_text_is_bad_input(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(BadInput, match=r"words\.txt: cannot be read"):
        read_names(tmp_path / "words.txt")
