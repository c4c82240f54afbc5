"""dataset/ilsvrc_folders.py: reads Kaggle's folders, and a flat val/ beside the devkit or a list."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import (
    SORTED,
    TRUE_LABELS,
    WORDS,
    devkit,
    ilsvrc_2010,
    read_by_threads,
    training_images,
    validation_images,
)

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Account
from tencrop.dataset.class_names import BESIDE
from tencrop.dataset.ilsvrc_folders import KAGGLE, SOLUTION
from tencrop.dataset.layouts import open_source
from tencrop.model.contract import Label

LABELS = tuple(Label(wnid, words) for wnid, words in zip(SORTED, WORDS, strict=True))


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for wnid, images in training_images().items():
        for name, data in images.items():
            write(tmp_path / KAGGLE / "train" / wnid / name, data)
    for name, data in validation_images().items():
        write(tmp_path / KAGGLE / "val" / name, data)
    write(tmp_path / KAGGLE / "test" / "ILSVRC2012_test_00000001.JPEG", b"no label")
    write(tmp_path / BESIDE[0], "".join(f"{label.id} {label.name}\n" for label in LABELS))
    lines = [
        f"ILSVRC2012_val_{n:08d},{SORTED[TRUE_LABELS[n - 1]]} 85 1 499 272 {SORTED[0]} 1 2 3 4 "
        for n in (4, 2, 5, 1, 3)
    ]
    write(tmp_path / SOLUTION, "\ufeff" + "\r\n".join(["ImageId,PredictionString", *lines, ""]))
    write(tmp_path / "LOC_train_solution.csv", "ImageId,PredictionString\n")
    return tmp_path


def expected(train: bool = True, validation: bool = True) -> dict[str, tuple[int, bool | None, bytes]]:
    found: dict[str, tuple[int, bool | None, bytes]] = {}
    for wnid, images in training_images().items() if train else ():
        for name, data in images.items():
            found[f"{KAGGLE}/train/{wnid}/{name}"] = (SORTED.index(wnid), False if validation else None, data)
    for name, data in validation_images().items() if validation else ():
        found[f"{KAGGLE}/val/{name}"] = (TRUE_LABELS[int(name[15:23]) - 1], True, data)
    return found


def test_images_labels_and_split_are_those_of_the_challenge(root: Path) -> None:
    source = open_source(root)
    assert source.labels == LABELS
    assert read_by_threads(source) == expected()


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def test_without_training_images_the_mapping_gives_the_classes(root: Path) -> None:
    remove(root / KAGGLE / "train")
    source = open_source(root)
    assert source.labels == LABELS
    assert read_by_threads(source) == expected(train=False)


def test_training_images_may_be_left_unlisted(root: Path) -> None:
    source = open_source(root, training=False)
    assert source.labels == LABELS and read_by_threads(source) == expected(train=False)
    remove(root / KAGGLE / "val")
    assert read_by_threads(open_source(root, training=False)) == expected(validation=False)


def test_without_validation_images_there_is_no_split(root: Path) -> None:
    remove(root / KAGGLE / "val")
    assert read_by_threads(open_source(root)) == expected(validation=False)


def test_without_the_mapping_the_wnids_are_the_words(root: Path) -> None:
    (root / BESIDE[0]).unlink()
    assert [label.name for label in open_source(root).labels] == list(SORTED)


def test_the_mapping_in_another_order_than_the_wnids_is_bad_input(root: Path) -> None:
    write(root / BESIDE[0], "".join(f"{label.id} {label.name}\n" for label in reversed(LABELS)))
    with pytest.raises(BadInput, match=rf"{BESIDE[0]}: n02119789 comes after n03000684, .* sorted"):
        open_source(root)


MISFITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no csv": (
        lambda root: (root / SOLUTION).unlink(),
        "no file beside it names their classes; put .*, LOC_val_",
    ),
    "other columns": (lambda root: write(root / SOLUTION, "a,b\n1,2\n"), "expected the columns"),
    "empty prediction": (lambda root: write(root / SOLUTION, "ImageId,PredictionString\nx,\n"), "expected the columns"),
    "csv that is no text": (lambda root: write(root / SOLUTION, b"\xff\xfe\x00"), "cannot be read as text"),
    "image that is gone": (
        lambda root: (root / KAGGLE / "val" / "ILSVRC2012_val_00000004.JPEG").unlink(),
        "lists 5 images, .* holds 4, and ILSVRC2012_val_00000004",
    ),
    "unknown class": (
        lambda root: remove(root / KAGGLE / "train" / SORTED[2]),
        f"{SORTED[2]!r} is none of the 2 classes",
    ),
    "empty class": (
        lambda root: (root / KAGGLE / "train" / "n09999999").mkdir(),
        "n09999999: a class without an image|no words for",
    ),
    "mapping without a class": (lambda root: write(root / BESIDE[0], "n01440764 tench\n"), "no words for 'n02119789'"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_mismatch_is_one_line_of_bad_input(root: Path, misfit: str) -> None:
    change, message = MISFITS[misfit]
    change(root)
    with pytest.raises(BadInput, match=message):
        open_source(root)


def test_validation_images_alone_without_names_of_classes_are_bad_input(root: Path) -> None:
    remove(root / KAGGLE / "train")
    (root / BESIDE[0]).unlink()
    with pytest.raises(BadInput, match=r"no class folders are beside it; .* give the class names"):
        open_source(root)


def flat(root: Path, train: bool = True) -> Path:
    """train/<wnid>/ and a flat val/, as the tars are unpacked, with no file beside them."""
    for wnid, images in training_images().items() if train else ():
        for name, data in images.items():
            write(root / "train" / wnid / name, data)
    for name, data in validation_images().items():
        write(root / "val" / name, data)
    return root


def unpack(root: Path, *members: str) -> None:
    """Unpack the devkit, or some of its files to the root."""
    with tarfile.open(fileobj=io.BytesIO(devkit())) as opened:
        if not members:
            opened.extractall(root, filter="data")
        for name in members:
            content = opened.extractfile(f"ILSVRC2012_devkit_t12/data/{name}")
            assert content
            write(root / name, content.read())


NUMBERS = [f"ILSVRC2012_val_{n:08d}.JPEG {label}" for n, label in enumerate(TRUE_LABELS, 1)]
SOLUTION_LINES = [f"ILSVRC2012_val_{n:08d},{SORTED[label]} 1 2 3 4" for n, label in enumerate(TRUE_LABELS, 1)]
TRUTHS: dict[str, Callable[[Path], object]] = {
    "devkit": lambda root: write(root / "ILSVRC2012_devkit_t12.tar.gz", devkit()),
    "unpacked devkit": unpack,
    "two files of the devkit": lambda root: unpack(root, "meta.mat", "ILSVRC2012_validation_ground_truth.txt"),
    "csv": lambda root: write(root / SOLUTION, "\n".join(["ImageId,PredictionString", *SOLUTION_LINES])),
    "list of numbers": lambda root: write(root / "val.txt", "\n".join(NUMBERS)),
    "list of wnids": lambda root: write(
        root / "val.txt", "".join(f"{line[:-1]}{SORTED[int(line[-1])]}\n" for line in NUMBERS)
    ),
}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("truth", TRUTHS)
def test_a_flat_folder_beside_the_file_of_its_classes_is_read(tmp_path: Path, truth: str, train: bool) -> None:
    TRUTHS[truth](flat(tmp_path, train))
    write(tmp_path / BESIDE[1], "".join(f"{label.id} {label.name}\n" for label in LABELS))
    source = open_source(tmp_path)
    assert source.labels == LABELS
    assert Account.close(source.inventory, len(source.entries), ()).seen == (17 if train else 5)
    assert read_by_threads(source) == {
        id.removeprefix(f"{KAGGLE}/"): found for id, found in expected(train=train).items()
    }


@pytest.mark.parametrize("truth", ["devkit", "list of numbers", "list of wnids"])
def test_without_names_the_devkit_or_the_class_folders_name_the_classes(tmp_path: Path, truth: str) -> None:
    TRUTHS[truth](flat(tmp_path))
    source = open_source(tmp_path)
    assert [label.id for label in source.labels] == list(SORTED)
    assert [label.name for label in source.labels] == list(WORDS if truth == "devkit" else SORTED)
    assert [entry.label for entry in source.entries if entry.validation] == list(TRUE_LABELS)


def test_numbers_are_no_positions_among_a_part_of_the_class_folders(tmp_path: Path) -> None:
    TRUTHS["list of numbers"](flat(tmp_path))
    remove(tmp_path / "train" / SORTED[1])
    with pytest.raises(
        BadInput, match=r"val.txt: its labels go up to 2, and 2 classes are known; give .* with --labels FILE"
    ):
        open_source(tmp_path)


def test_an_unpacked_test_set_of_2010_is_read(tmp_path: Path) -> None:
    for name, data in validation_images("ILSVRC2010_test").items():
        write(tmp_path / "test" / name, data)
    packed = ilsvrc_2010(tmp_path / "packed")
    for name in ("ILSVRC2010_devkit-1.0.tar.gz", "ILSVRC2010_test_ground_truth.txt"):
        (packed / name).rename(tmp_path / name)
    remove(packed)
    assert [entry.label for entry in open_source(tmp_path).entries] == list(TRUE_LABELS[::-1])


def test_a_flat_folder_alone_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"val: holds ILSVRC2012_val_00000001.JPEG and the like, and no file beside it"):
        open_source(flat(tmp_path))


def test_other_folders_beside_a_flat_one_are_told(tmp_path: Path) -> None:
    unpack(flat(tmp_path))
    write(tmp_path / "more" / "1.jpg", b"")
    write(tmp_path / "test" / "ILSVRC2012_test_00000001.JPEG", b"")
    account = Account.close((source := open_source(tmp_path)).inventory, len(source.entries), ())
    assert account.groups["passed_over"].names == {"more/": 1}
    assert account.groups["not_read"].names == {"test/": 1}


def test_class_folders_beside_a_devkit_are_class_folders(tmp_path: Path) -> None:
    TRUTHS["devkit"](flat(tmp_path))
    remove(tmp_path / "val")
    for wnid in SORTED:
        write(tmp_path / "val" / wnid / "ILSVRC2012_val_00000001.JPEG", b"")
    assert len([entry for entry in open_source(tmp_path).entries if entry.validation]) == 3
