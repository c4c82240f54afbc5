"""dataset/layouts.py: recognises a layout by the contents of the folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import ilsvrc, jpeg, tar

from tencrop.common.errors import BadInput
from tencrop.dataset.folder import Folder
from tencrop.dataset.layouts import open_source
from tencrop.dataset.tar import Tars


def folder(root: Path) -> None:
    for number, name in enumerate(("train/ant", "train/bee", "val/ant", "val/bee")):
        (root / name).mkdir(parents=True)
        (root / name / "1.jpg").write_bytes(jpeg(number))


LAYOUTS: dict[str, Callable[[Path], object]] = {"ilsvrc": ilsvrc, "folder": folder}


def test_ilsvrcs_tars_are_known_among_other_files(tmp_path: Path) -> None:
    ilsvrc(tmp_path)
    (tmp_path / "ILSVRC2012_img_test_v10102019.tar").write_bytes(b"not looked at")
    (tmp_path / "train" / "n01440764").mkdir(parents=True)
    source = open_source(tmp_path)
    assert isinstance(source, Tars)
    assert [file.name for file in source.files] == ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"]


def test_a_devkit_beside_unpacked_images_is_ignored(tmp_path: Path) -> None:
    """torchvision's ImageNet wants it there, and unpacks the tars to train/ and val/."""
    folder(tmp_path)
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"not looked at")
    assert isinstance(open_source(tmp_path), Folder)


def test_a_leftover_tar_makes_no_webdataset_of_class_folders(tmp_path: Path) -> None:
    folder(tmp_path)
    for name in ("train/n01440764.tar", "test/images.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(tar({}))
    assert isinstance(open_source(tmp_path), Folder)


def test_a_tar_in_a_class_that_is_called_test_makes_no_webdataset(tmp_path: Path) -> None:
    for name in ("ant", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(jpeg(1))
    (tmp_path / "test" / "x.tar").write_bytes(tar({}))
    assert isinstance(open_source(tmp_path), Folder)


def test_other_tars_are_a_webdataset(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar({"1.jpg": jpeg(1), "1.cls": b"0"}))
    (tmp_path / "classes.txt").write_text("ant\n")
    assert isinstance(open_source(tmp_path), Tars)


def test_class_folders_are_a_folder_and_hidden_parquet_does_not_count(tmp_path: Path) -> None:
    for name in ("ant/1.jpg", ".cache/huggingface/x.parquet", "ant/.x.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert isinstance(open_source(tmp_path), Folder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_training_images_only_its_own_validation_images_are_listed(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    every = open_source(tmp_path)
    own = open_source(tmp_path, training=False)
    wanted = [(entry.id, entry.label) for entry in every.entries if entry.validation]
    assert [(entry.id, entry.label) for entry in own.entries] == wanted and 0 < len(wanted) < len(every.entries)
    assert own.labels == every.labels and own.read(own.entries[0]) == every.read(
        next(e for e in every.entries if e.validation)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_images_alone_are_always_listed(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    for path in tmp_path.glob("*val*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert len(open_source(tmp_path, training=False).entries) == len(open_source(tmp_path).entries) > 0


def test_an_empty_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no class folders"):
        open_source(tmp_path)


def test_parquet_that_lies_deep_is_found(tmp_path: Path) -> None:
    (tmp_path / "default" / "train").mkdir(parents=True)
    (tmp_path / "default" / "train" / "0000.parquet").write_bytes(b"damaged")
    with pytest.raises(BadInput, match=r"0000\.parquet: not parquet"):
        open_source(tmp_path)
