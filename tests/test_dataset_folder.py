"""dataset/folder.py: reads class folders into classes, ids and labels; unreadable ones are one line of BadInput."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.dataset.folder import list_class_images
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source import Entry, Source
from tencrop.dataset.source_options import SourceOptions
from tencrop.model.contract import Label


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_classes_are_sorted_by_folder_name_and_images_by_path(tmp_path: Path) -> None:
    folder = open_source(files(tmp_path, "b/2.png", "B/1.jpg", "a/z.jpg", "a/10.jpg", "a/9.jpg"))
    assert folder.labels == (Label("B", "B"), Label("a", "a"), Label("b", "b"))
    assert list(folder.entries) == [
        Entry("B/1.jpg", 0),
        Entry("a/10.jpg", 1),
        Entry("a/9.jpg", 1),
        Entry("a/z.jpg", 1),
        Entry("b/2.png", 2),
    ]


def test_underscores_of_a_folder_become_spaces_of_its_name(tmp_path: Path) -> None:
    assert open_source(files(tmp_path, "sea_horse/1.jpg")).labels == (Label("sea_horse", "sea horse"),)


def test_images_may_lie_deeper_and_have_any_listed_suffix_in_any_case(tmp_path: Path) -> None:
    names = [
        "a/1.JPG",
        "a/2.jpeg",
        "a/3.Png",
        "a/4.webp",
        "a/5.gif",
        "a/6.bmp",
        "a/7.tif",
        "a/8.tiff",
        "a/deep/er/9.jpg",
    ]
    assert [entry.id for entry in open_source(files(tmp_path, *names)).entries] == names


def test_hidden_files_other_files_and_loose_files_are_not_images(tmp_path: Path) -> None:
    root = files(
        tmp_path, "a/1.jpg", "a/.2.jpg", "a/notes.txt", "a/README", "loose.jpg", ".cache/3.jpg", "a/.cache/4.jpg"
    )
    (root / "a" / "folder.jpg").mkdir()
    assert [entry.id for entry in open_source(root).entries] == ["a/1.jpg"]


def test_links_to_folders_are_followed_once_a_class(tmp_path: Path) -> None:
    for name in ("root/cat/a.jpg", "root/dog/b.jpg", "elsewhere/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "root" / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "root" / "cat")
    (tmp_path / "root" / "ox").symlink_to(tmp_path / "elsewhere")
    ids = [entry.id for entry in open_source(tmp_path / "root").entries]
    assert ids == ["cat/a.jpg", "cat/more/c.jpg", "dog/b.jpg", "ox/back/a.jpg", "ox/c.jpg"]


def test_a_folder_that_cannot_be_listed_is_bad_input_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ant/a.jpg", "ant/2020/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    listed = os.scandir

    def refused(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("2020"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(BadInput, match=r"ant/2020: cannot be listed \(Permission denied\)"):
        list_class_images(tmp_path, tmp_path / "ant", Inventory())


def test_folders_of_the_file_system_are_not_classes(tmp_path: Path) -> None:
    for name in ("train/ant/1.jpg", "val/ant/2.jpg", "lost+found/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [label.id for label in open_source(tmp_path).labels] == ["ant"]


def test_read_gives_the_files_bytes(tmp_path: Path) -> None:
    folder = open_source(files(tmp_path, "a/1.jpg", "b/2.jpg"))
    assert [folder.read(entry) for entry in folder.entries] == [b"a/1.jpg", b"b/2.jpg"]


def test_a_deleted_file_is_an_os_error(tmp_path: Path) -> None:
    folder = open_source(files(tmp_path, "a/1.jpg"))
    (tmp_path / "a" / "1.jpg").unlink()
    with pytest.raises(OSError, match=r"1\.jpg"):
        folder.read(folder.entries[0])


def test_a_labels_file_gives_the_words(tmp_path: Path) -> None:
    root = files(tmp_path / "data", "n01/1.jpg", "n02/1.jpg")
    names = tmp_path / "words.txt"
    names.write_text("n02 goldfish, Carassius auratus\n\nn01\ttench  \nn03 not here\n", encoding="utf-8")
    assert open_source(root, SourceOptions(names=names)).labels == (
        Label("n01", "tench"),
        Label("n02", "goldfish, Carassius auratus"),
    )


def test_a_missing_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere: no such folder"):
        open_source(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a\.jpg: no such folder"):
        open_source(files(tmp_path, "a.jpg") / "a.jpg")


def test_a_folder_of_images_without_classes_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no class folders"):
        open_source(files(tmp_path, "1.jpg", "2.jpg", ".git/3.jpg"))


def test_a_class_without_an_image_is_bad_input_naming_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="b: a class without an image"):
        open_source(files(tmp_path, "a/1.jpg", "b/notes.txt"))


def test_a_class_that_the_labels_file_misses_is_bad_input_naming_it(tmp_path: Path) -> None:
    root = files(tmp_path / "data", "n01/1.jpg", "n02/1.jpg", "n03/1.jpg")
    (tmp_path / "words.txt").write_text("n01 tench\n")
    with pytest.raises(BadInput, match=r"words\.txt: no words for 'n02' \(2 of 3"):
        open_source(root, SourceOptions(names=tmp_path / "words.txt"))


def split(folder: Source) -> list[tuple[str, int, bool | None]]:
    return [(entry.id, entry.label, entry.validation) for entry in folder.entries]


@pytest.mark.parametrize("held", ["val", "validation", "Valid"])
def test_train_and_val_folders_are_a_split(tmp_path: Path, held: str) -> None:
    folder = open_source(
        files(tmp_path, f"{held}/bee/2.jpg", "train/ant/1.jpg", "train/bee/1.jpg", "test/9.jpg", "loose.jpg")
    )
    assert folder.labels == (Label("ant", "ant"), Label("bee", "bee"))
    assert sorted(split(folder)) == sorted(
        [(f"{held}/bee/2.jpg", 1, True), ("train/ant/1.jpg", 0, False), ("train/bee/1.jpg", 1, False)]
    )
    assert folder.read(folder.entries[0]) == folder.entries[0].id.encode()


def test_a_labelled_test_folder_is_for_validation_only_without_another(tmp_path: Path) -> None:
    root = files(tmp_path, "train/ant/1.jpg", "test/ant/2.jpg")
    assert split(open_source(root)) == [("test/ant/2.jpg", 0, True), ("train/ant/1.jpg", 0, False)]
    files(tmp_path, "val/ant/3.jpg")
    assert split(open_source(root)) == [("train/ant/1.jpg", 0, False), ("val/ant/3.jpg", 0, True)]


def test_a_val_folder_alone_is_for_validation_and_a_train_folder_alone_is_not_split(tmp_path: Path) -> None:
    assert split(open_source(files(tmp_path / "a", "val/ant/1.jpg"))) == [("val/ant/1.jpg", 0, True)]
    assert split(open_source(files(tmp_path / "b", "train/ant/1.jpg"))) == [("train/ant/1.jpg", 0, None)]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folder = open_source(files(tmp_path, "train/1.jpg", "train/steam/2.jpg", "tram/1.jpg"))
    assert [label.id for label in folder.labels] == ["train", "tram"]
    assert all(entry.validation is None for entry in folder.entries)


def test_a_folder_beside_training_and_validation_is_bad_input_and_no_class(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="and unlabeled beside them"):
        open_source(files(tmp_path, "train/ant/1.jpg", "train/bee/1.jpg", "val/ant/2.jpg", "unlabeled/3.jpg"))


def test_a_validation_class_that_is_not_trained_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"bee: no such class in .*train"):
        open_source(files(tmp_path, "train/ant/1.jpg", "val/bee/1.jpg"))


def test_validation_images_without_class_folders_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="val: holds no class folders"):
        open_source(files(tmp_path, "train/ant/1.jpg", "val/1.jpg"))


def test_kaggles_mapping_beside_the_class_folders_gives_the_words(tmp_path: Path) -> None:
    root = files(tmp_path, "n01440764/1.jpg")
    (root / "LOC_synset_mapping.txt").write_text("n01440764 tench, Tinca tinca\nn02119789 kit fox\n")
    assert open_source(root).labels == (Label("n01440764", "tench, Tinca tinca"),)


def test_a_name_that_is_not_text_is_bad_input(tmp_path: Path) -> None:
    root = files(tmp_path, "a/1.jpg")
    (root / "a" / "caf\udce9.jpg").write_bytes(b"")
    with pytest.raises(BadInput, match="not UTF-8 text; rename it"):
        open_source(root)
