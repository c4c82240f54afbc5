"""dataset/kaggle.py: reads the unpacked imagenet-object-localization-challenge."""

from collections.abc import Callable
from pathlib import Path

import pytest
from archives import SORTED, TRUE_LABELS, WORDS, read_by_threads, training_images, validation_images

from tencrop.common.errors import BadInput
from tencrop.dataset.class_names import MAPPING
from tencrop.dataset.kaggle import IMAGES, SOLUTION
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
            write(tmp_path / IMAGES / "train" / wnid / name, data)
    for name, data in validation_images().items():
        write(tmp_path / IMAGES / "val" / name, data)
    write(tmp_path / IMAGES / "test" / "ILSVRC2012_test_00000001.JPEG", b"no label")
    write(tmp_path / MAPPING, "".join(f"{label.id} {label.name}\n" for label in LABELS))
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
            found[f"{IMAGES}/train/{wnid}/{name}"] = (SORTED.index(wnid), False if validation else None, data)
    for name, data in validation_images().items() if validation else ():
        found[f"{IMAGES}/val/{name}"] = (TRUE_LABELS[int(name[15:23]) - 1], True, data)
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
    remove(root / IMAGES / "train")
    source = open_source(root)
    assert source.labels == LABELS
    assert read_by_threads(source) == expected(train=False)


def test_training_images_may_be_left_unlisted(root: Path) -> None:
    source = open_source(root, training=False)
    assert source.labels == LABELS and read_by_threads(source) == expected(train=False)
    remove(root / IMAGES / "val")
    assert read_by_threads(open_source(root, training=False)) == expected(validation=False)


def test_without_validation_images_there_is_no_split(root: Path) -> None:
    remove(root / IMAGES / "val")
    assert read_by_threads(open_source(root)) == expected(validation=False)


def test_without_the_mapping_the_wnids_are_the_words(root: Path) -> None:
    (root / MAPPING).unlink()
    assert [label.name for label in open_source(root).labels] == list(SORTED)


def test_the_mapping_in_another_order_than_the_wnids_is_bad_input(root: Path) -> None:
    write(root / MAPPING, "".join(f"{label.id} {label.name}\n" for label in reversed(LABELS)))
    with pytest.raises(BadInput, match=rf"{MAPPING}: n02119789 comes after n03000684, .* sorted"):
        open_source(root)


MISFITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no csv": (lambda root: (root / SOLUTION).unlink(), "LOC_val_solution.csv: missing"),
    "other columns": (lambda root: write(root / SOLUTION, "a,b\n1,2\n"), "expected the columns"),
    "empty prediction": (lambda root: write(root / SOLUTION, "ImageId,PredictionString\nx,\n"), "expected the columns"),
    "csv that is no text": (lambda root: write(root / SOLUTION, b"\xff\xfe\x00"), "expected the columns"),
    "image that is gone": (
        lambda root: (root / IMAGES / "val" / "ILSVRC2012_val_00000004.JPEG").unlink(),
        "lists 5 images, .* holds 4, and ILSVRC2012_val_00000004",
    ),
    "unknown class": (
        lambda root: remove(root / IMAGES / "train" / SORTED[2]),
        f"{SORTED[2]!r} is none of the 2 classes",
    ),
    "empty class": (
        lambda root: (root / IMAGES / "train" / "n09999999").mkdir(),
        "n09999999: a class without an image|no words for",
    ),
    "mapping without a class": (lambda root: write(root / MAPPING, "n01440764 tench\n"), "no words for 'n02119789'"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_mismatch_is_one_line_of_bad_input(root: Path, misfit: str) -> None:
    change, message = MISFITS[misfit]
    change(root)
    with pytest.raises(BadInput, match=message):
        open_source(root)


def test_validation_images_alone_without_names_of_classes_are_bad_input(root: Path) -> None:
    remove(root / IMAGES / "train")
    (root / MAPPING).unlink()
    with pytest.raises(BadInput, match=r"no class folders; .* give the class names in a file"):
        open_source(root)
