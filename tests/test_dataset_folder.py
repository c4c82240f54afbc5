"""dataset/folder.py: reads class folders into classes, ids and labels; unreadable ones are one line of BadInput."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Account, Inventory
from tencrop.dataset.folder import list_class_images
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source import Entry, Source
from tencrop.dataset.source_options import SourceOptions
from tencrop.images.errors import ImageMissing
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
        "a/9.JFIF",
        "a/A.jpe",
        "a/B.apng",
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


@pytest.mark.parametrize("place", ["ant", "ant/more", "ant/deep/more", "train", "n01440764"])
def test_a_link_to_a_folder_that_is_gone_is_bad_input(tmp_path: Path, place: str) -> None:
    root = files(tmp_path, "bee/1.jpg", "cat/1.jpg")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).symlink_to("/unmounted/photos")
    with pytest.raises(BadInput, match=f"{place}: a link to /unmounted/photos, which is not there; mount it"):
        open_source(root)


def test_a_link_to_a_class_folder_that_is_gone_is_bad_input_in_a_split(tmp_path: Path) -> None:
    root = files(tmp_path, "train/ant/1.jpg", "val/ant/1.jpg")
    (root / "train" / "bee").symlink_to(root / "train" / "bee")
    with pytest.raises(BadInput, match=r"train/bee: a link to .*train/bee, which is not there"):
        open_source(root)


def test_links_named_like_images_are_entries_whatever_they_lead_to(tmp_path: Path) -> None:
    root = files(tmp_path, "ant/0.jpg")
    for name, target in {
        "1.jpg": "1.jpg",
        "2.jpg": "3.jpg",
        "3.jpg": "2.jpg",
        "4.JPE": "/gone/",
        "5.txt": "gone",
    }.items():
        (root / "ant" / name).symlink_to(target)
    (root / "ant" / "6.jpg").symlink_to("0.jpg")
    folder = open_source(root)
    assert [entry.id for entry in folder.entries] == [
        f"ant/{n}" for n in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.JPE", "6.jpg")
    ]
    for entry, target in zip(folder.entries[1:5], ("1.jpg", "3.jpg", "2.jpg", "/gone/"), strict=True):
        with pytest.raises(ImageMissing, match=f"a link to {target}, which is not there"):
            folder.read(entry)
    assert folder.read(folder.entries[5]) == b"ant/0.jpg"


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


FOREIGN = ["lost+found", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "@eaDir", "#recycle", ".Trash-1000"]


@pytest.mark.parametrize("name", [*FOREIGN, ".ipynb_checkpoints", ".thumbnails", "@EADIR"])
def test_folders_of_other_programs_hold_no_images(tmp_path: Path, name: str) -> None:
    places = [f"{name}/ant/3.jpg", f"train/{name}/ant/4.jpg", f"train/ant/{name}/5.jpg", f"val/ant/6.jpg/{name}/7.jpg"]
    folder = open_source(files(tmp_path, "train/ant/1.jpg", "val/ant/2.jpg", *places))
    assert [entry.id for entry in folder.entries] == ["train/ant/1.jpg", "val/ant/2.jpg"]
    assert folder.inventory.groups["passed_over"].names == {f"{name}/": 4}


def test_fiftyones_folder_of_unlabeled_images_is_no_class(tmp_path: Path) -> None:
    folder = open_source(files(tmp_path, "ant/1.jpg", "bee/2.jpg", "_unlabeled/3.jpg", "_unlabeled/x.txt"))
    assert [label.id for label in folder.labels] == ["ant", "bee"]
    account = Account.close(folder.inventory, len(folder.entries), ())
    assert account.format() == [
        "4 seen: 2 taken",
        "  1 passed over by name: .txt",
        "  1 without a label: _unlabeled/3.jpg",
    ]


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
    with pytest.raises(BadInput, match=r"a\.jpg: is a file, and a data set is a folder"):
        open_source(files(tmp_path, "a.jpg") / "a.jpg")


def test_a_folder_of_images_without_classes_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no class folders"):
        open_source(files(tmp_path, "1.jpg", "2.jpg", ".git/3.jpg"))


def test_a_class_without_an_image_is_bad_input_naming_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"b: a class without an image \(it holds 2 x \.dng, \.txt\).*\.jpeg.*"):
        open_source(files(tmp_path, "a/1.jpg", "b/notes.txt", "b/1.dng", "b/deep/2.DNG"))
    (tmp_path / "0").mkdir()
    with pytest.raises(BadInput, match=r"0: a class without an image \(it is empty\)"):
        open_source(tmp_path)


def test_a_class_that_the_labels_file_misses_is_bad_input_naming_it(tmp_path: Path) -> None:
    root = files(tmp_path / "data", "n01/1.jpg", "n02/1.jpg", "n03/1.jpg")
    (tmp_path / "words.txt").write_text("n01 tench\n")
    with pytest.raises(BadInput, match=r"words\.txt: no words for 'n02' \(2 of 3"):
        open_source(root, SourceOptions(names=tmp_path / "words.txt"))


def split(folder: Source) -> list[tuple[str, int, bool | None]]:
    return [(entry.id, entry.label, entry.validation) for entry in folder.entries]


@pytest.mark.parametrize("held", ["val", "validation", "Valid", "DEV", "eval", "val2012", "img val", "1-dev_split"])
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
    assert split(open_source(files(tmp_path / "c", "test/ant/1.jpg"))) == [("test/ant/1.jpg", 0, True)]


@pytest.mark.parametrize("train", ["imagenet_train", "ILSVRC2012_img_train"])
def test_split_folders_that_are_alike_may_hold_images_too(tmp_path: Path, train: str) -> None:
    """Such as one that shows samples; they have no label."""
    held = train.replace("train", "val")
    names = [f"{top}/{name}" for top in (train, held) for name in ("ant/1.jpg", "samples.jpg")]
    folder = open_source(files(tmp_path, *names))
    assert split(folder) == [(f"{train}/ant/1.jpg", 0, False), (f"{held}/ant/1.jpg", 0, True)]
    assert folder.inventory.groups["without_label"].count == 2


@pytest.mark.parametrize(
    "names",
    [
        ("test tube", "training shoe"),
        ("bullet_train", "medieval"),
        ("dev board", "val", "ant"),
        ("test-1 tube/deep", "test-1 tube", "ant"),
    ],
    ids=" ".join,
)
def test_a_class_may_be_named_with_the_word_of_a_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    folder = open_source(files(tmp_path / "test", *(f"{name}/1.jpg" for name in names)))
    assert [label.id for label in folder.labels] == sorted({name.partition("/")[0] for name in names})
    assert all(entry.validation is None for entry in folder.entries)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folder = open_source(files(tmp_path, "train/1.jpg", "train/steam/2.jpg", "tram/1.jpg"))
    assert [label.id for label in folder.labels] == ["train", "tram"]
    assert all(entry.validation is None for entry in folder.entries)


@pytest.mark.parametrize("known", [("train", "val"), ("train",), ("imagenet_dev",)], ids=" ".join)
@pytest.mark.parametrize("other", ["unlabeled", "foo/ant", "train_val/ant", "x_ray"])
def test_a_folder_of_no_known_split_beside_one_is_bad_input_and_no_class(
    tmp_path: Path, known: tuple[str, ...], other: str
) -> None:
    root = files(tmp_path, f"{other}/3.jpg", *(f"{top}/{name}/1.jpg" for top in known for name in ("ant", "bee")))
    name = other.partition("/")[0]
    with pytest.raises(BadInput, match=f"{known[0]}/ is named after a split, and {name}/ .* train, training, val, "):
        open_source(root)


def test_two_folders_for_the_same_split_are_bad_input(tmp_path: Path) -> None:
    root = files(tmp_path, "train/ant/1.jpg", "val/ant/1.jpg", "dev/ant/1.jpg")
    with pytest.raises(BadInput, match="dev/ and val/ are both for validation; move one"):
        open_source(root)


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
