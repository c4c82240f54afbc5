"""dataset/class_names.py: reads classes from files of names; an order that contradicts the wnids is refused."""

from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.dataset.class_names import adopt_wnids, read_labels_by_id, read_labels_by_index, read_names
from tencrop.model.contract import Label


def test_wnids_out_of_order_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n01440764 tench\nn02119789 kit fox\nn01443537 goldfish\n")
    with pytest.raises(BadInput, match=r"words\.txt: n01443537 comes after n02119789"):
        read_names(tmp_path / "words.txt")


def test_other_ids_may_have_any_order(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("zebra striped\nant small\n")
    assert list(read_names(tmp_path / "words.txt").make_table()) == ["zebra", "ant"]


def test_wnids_out_of_order_in_json_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"0": ["n02119789", "kit_fox"], "1": ["n01440764", "tench"]}')
    with pytest.raises(BadInput, match=r"index\.json: n01440764 comes after n02119789"):
        read_names(tmp_path / "index.json")


WNIDS = ("n01440764", "n02012849", "n03126707")


def test_names_without_ids_are_those_of_as_many_wnids(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("tench\ncrane\ncrane\n")
    assert read_labels_by_id(WNIDS, tmp_path / "words.txt") == (
        Label("n01440764", "tench"),
        Label("n02012849", "crane"),
        Label("n03126707", "crane"),
    )


@pytest.mark.parametrize("ids", [WNIDS[:2], ("a", "b", "c")], ids=["fewer wnids", "other ids"])
def test_names_without_ids_name_no_other_classes(ids: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("tench\ncrane\ncrane\n")
    with pytest.raises(BadInput, match=f"no words for '{ids[0]}' .*it holds names without ids"):
        read_labels_by_id(ids, tmp_path / "words.txt")


def test_names_that_are_the_ids_may_have_any_order(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("zebra\nbee\nant\n")
    assert read_labels_by_id(["ant", "zebra"], tmp_path / "words.txt") == (Label("ant", "ant"), Label("zebra", "zebra"))


def test_names_without_ids_leave_the_ids_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("tench\ncrane\ncrane\n")
    assert [label.id for label in read_labels_by_index(WNIDS, tmp_path / "words.txt")] == list(WNIDS)
    assert [label.id for label in read_labels_by_index((), tmp_path / "words.txt")] == ["tench", "crane #1", "crane #2"]


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


SYNSETS = "n01440764 tench, Tinca tinca\nn02012849 crane\nn02364673 guinea pig, Cavia cobaya\nn03126707 crane\n"


def test_names_of_classes_get_the_ids_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(SYNSETS)
    expected = (Label("n02364673", "guinea pig, Cavia cobaya"), Label("n01440764", "tench, Tinca tinca"))
    assert read_labels_by_id(["guinea_pig", "tench"], tmp_path / "words.txt") == expected
    assert read_labels_by_index(["guinea pig", "tench, Tinca tinca"], tmp_path / "words.txt") == expected


@pytest.mark.parametrize("names", [("crane", "tench"), ("tench", "ant"), ("tench", "tench, Tinca tinca")])
def test_names_that_the_file_has_twice_or_not_at_all_are_bad_input(names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(SYNSETS)
    with pytest.raises(BadInput, match="no words for"):
        read_labels_by_id(names, tmp_path / "words.txt")
    with pytest.raises(BadInput, match="names 4 classes, the data has 2"):
        read_labels_by_index(names, tmp_path / "words.txt")


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
