"""dataset/class_names.py: reads classes from files of names; an order that contradicts the wnids is refused."""

from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.dataset.class_names import adopt_wnids, read_labels_by_index, read_names
from tencrop.model.contract import Label


def test_words_may_be_any_unicode(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n01 naïve 猫\n", encoding="utf-8")
    assert read_names(tmp_path / "words.txt") == {"n01": "naïve 猫"}


def test_a_byte_order_mark_is_not_part_of_the_first_id(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(b"\xef\xbb\xbfn01 tench\n")
    assert read_names(tmp_path / "words.txt") == {"n01": "tench"}


def test_a_line_without_words_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n01 tench\nn02\n")
    with pytest.raises(BadInput, match="'n02' has no words"):
        read_names(tmp_path / "words.txt")


@pytest.mark.parametrize("content", [b"n01 t\xffnch\n", None])
def test_a_labels_file_that_is_not_text_is_bad_input(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(BadInput, match=r"words\.txt: cannot be read"):
        read_names(tmp_path / "words.txt")


def test_a_class_twice_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("ant an insect\nant another\n")
    with pytest.raises(BadInput, match="names 'ant' twice"):
        read_names(tmp_path / "words.txt")


def test_wnids_out_of_order_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n01440764 tench\nn02119789 kit fox\nn01443537 goldfish\n")
    with pytest.raises(BadInput, match=r"words\.txt: n01443537 comes after n02119789"):
        read_names(tmp_path / "words.txt")


def test_other_ids_may_have_any_order(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("zebra striped\nant small\n")
    assert list(read_names(tmp_path / "words.txt")) == ["zebra", "ant"]


def test_ids_of_the_data_get_their_words_in_any_order_of_lines(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("zebra striped\nbee busy\nant small\n")
    assert read_labels_by_index(["ant", "zebra"], tmp_path / "words.txt") == (
        Label("ant", "small"),
        Label("zebra", "striped"),
    )


def test_another_number_of_classes_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("c1 zebra\nc2 bee\n")
    with pytest.raises(BadInput, match="names 2 classes, the data has 3"):
        read_labels_by_index(["ant", "bee", "zebra"], tmp_path / "words.txt")


def test_wnids_of_images_become_ids_only_where_each_class_has_one_of_its_own() -> None:
    labels = (Label("dog", "dog"), Label("cat", "cat"))
    assert adopt_wnids(Path("x"), labels, {0: {"n02084071"}, 1: {"n02121620"}}) == (
        Label("n02084071", "dog"),
        Label("n02121620", "cat"),
    )
    for seen in (
        {0: {"n02084071"}},
        {0: {"n02084071", "n02085374"}, 1: {"n02121620"}},
        {0: {"n02084071"}, 1: {"n02084071"}},
        {},
    ):
        assert adopt_wnids(Path("x"), labels, seen) == labels  # superclasses, other names
