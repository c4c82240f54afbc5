"""dataset/layouts.py: what lies in a folder says which layout it has."""

from pathlib import Path

import pytest
from archives import ilsvrc, jpeg, tar

from dataset.folder import Folder
from dataset.layouts import open_source
from dataset.tar import Tars
from model.errors import BadInput


def test_ilsvrcs_tars_are_known_among_other_files(tmp_path: Path) -> None:
    ilsvrc(tmp_path)
    (tmp_path / "ILSVRC2012_img_test_v10102019.tar").write_bytes(b"not looked at")
    (tmp_path / "train" / "n01440764").mkdir(parents=True)
    source = open_source(tmp_path)
    assert isinstance(source, Tars)
    assert [file.name for file in source.files] == ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"]


def test_other_tars_are_a_webdataset(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar({"1.jpg": jpeg(1), "1.cls": b"0"}))
    (tmp_path / "classes.txt").write_text("ant\n")
    assert isinstance(open_source(tmp_path), Tars)


def test_class_folders_are_a_folder_and_hidden_parquet_does_not_count(tmp_path: Path) -> None:
    for name in ("ant/1.jpg", ".cache/huggingface/x.parquet", "ant/.x.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert isinstance(open_source(tmp_path), Folder)


def test_an_empty_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no class folders"):
        open_source(tmp_path)


def test_parquet_that_lies_deep_is_found(tmp_path: Path) -> None:
    (tmp_path / "default" / "train").mkdir(parents=True)
    (tmp_path / "default" / "train" / "0000.parquet").write_bytes(b"damaged")
    with pytest.raises(BadInput, match=r"0000\.parquet: not parquet"):
        open_source(tmp_path)
