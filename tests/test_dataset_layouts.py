"""dataset/layouts.py: recognises a layout by the contents of the folder."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import devkit, ilsvrc, jpeg, tar, validation_images
from support.arrow_files import make_table

from tencrop.common.errors import BadInput
from tencrop.dataset.folder import Folder
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source_options import SourceOptions
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


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(1))
    return root


@pytest.mark.parametrize("top", ["", "train/"])
@pytest.mark.parametrize("place", ["ant/x.parquet", "ant/x.tar", "data/x.parquet", "data/x.tar", "ant/deep/x.parquet"])
def test_a_stray_file_in_a_class_folder_decides_nothing(tmp_path: Path, top: str, place: str) -> None:
    write(tmp_path, f"{top}ant/1.jpg", f"{top}data/1.jpg", f"{top}{place}")
    source = open_source(tmp_path)
    assert [entry.id for entry in source.entries] == [f"{top}ant/1.jpg", f"{top}data/1.jpg"]
    assert source.inventory.groups["passed_over"].names == {Path(place).suffix: 1}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "ILSVRC2012_img_val.tar", "train/x.tar", "train/x.parquet"])
def test_a_stray_file_beside_class_folders_decides_nothing(tmp_path: Path, name: str) -> None:
    write(tmp_path, "train/ant/1.jpg", "val/ant/1.jpg", name)
    source = open_source(tmp_path)
    assert [entry.id for entry in source.entries] == ["train/ant/1.jpg", "val/ant/1.jpg"]
    assert source.inventory.groups["passed_over"].names == {Path(name).suffix: 1}


def test_a_report_among_class_folders_is_bad_input_and_no_data_set(tmp_path: Path) -> None:
    write(tmp_path, "ant/1.jpg", "bee/1.jpg", "report/predictions.parquet", "report/summary.json")
    with pytest.raises(BadInput, match=r"report: a class without an image \(it holds \.(parquet|json), .*move it"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("x.parquet", "ant/1.jpg"),
        ("data/x.parquet", "assets/1.jpg"),
        ("data/default/train/0000.parquet",),
        ("default/train/0000.parquet",),
        ("train.parquet/part-0.snappy.parquet",),
    ],
    ids=" ".join,
)
def test_parquet_decides_at_the_top_in_data_and_deeper_where_no_folder_holds_images(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    with pytest.raises(BadInput, match=r"\.parquet: (not|cannot|is)"):
        open_source(write(tmp_path, *names))


@pytest.mark.parametrize("name", ["x.parquet", "data/x.parquet"])
@pytest.mark.parametrize(
    "folders", [("ant", "bee"), ("train/ant", "val/ant"), ("train/ant", "train/bee")], ids=" ".join
)
def test_parquet_beside_class_folders_is_bad_input(tmp_path: Path, name: str, folders: tuple[str, str]) -> None:
    root = write(tmp_path, name, *(f"{folder}/1.jpg" for folder in folders))
    with pytest.raises(BadInput, match=f"holds {name}, and images in {folders[0]} and other folders; keep one"):
        open_source(root)


def test_parquet_of_paths_may_lie_beside_its_images(tmp_path: Path) -> None:
    root = write(tmp_path, "tables/x.parquet", "images/1.jpg")
    with pytest.raises(BadInput, match=r"tables/x\.parquet: (not|cannot|is)"):
        open_source(root, SourceOptions(image_root=root))


def tars(root: Path) -> None:
    (root / "train").mkdir()
    (root / "train" / "x.tar").write_bytes(tar({"1.jpg": jpeg(1), "1.cls": b"0"}))
    (root / "classes.txt").write_text("ant\n")


def tables(root: Path, names: tuple[str, ...] = ("ant", "bee")) -> None:
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    (root / "train").mkdir()
    pq.write_table(make_table(pa.array([jpeg(1)]), [0], features), root / "train" / "x.parquet")
    (root / "README.md").write_text("---\n---\n")


def unpacked(root: Path) -> None:
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(devkit())
    for name, data in validation_images().items():
        (root / "val").mkdir(exist_ok=True)
        (root / "val" / name).write_bytes(data)


@pytest.mark.parametrize("layout", [tars, tables, unpacked, ilsvrc], ids=lambda layout: layout.__name__)
def test_what_lies_beside_a_data_sets_files_is_told(layout: Callable[[Path], object], tmp_path: Path) -> None:
    layout(tmp_path)
    used = len(open_source(tmp_path).entries)
    names = (
        "a.jpg",
        "b.dng",
        "c.PARQUET",
        "d.TAR",
        "e.tar.xz",
        ".cache/x",
        "docs/x.md",
        "synset.md",
        "__MACOSX/1.jpg",
    )
    source = open_source(write(tmp_path, *names))
    assert source.inventory.groups["without_label"].names == {"a.jpg": 1}
    others = {".dng", ".parquet", ".tar", ".xz", ".cache/", "docs/", ".md", "__MACOSX/"}
    assert source.inventory.groups["passed_over"].names == dict.fromkeys(others, 1)
    assert source.inventory.seen - len(names) == len(source.entries) == used


@pytest.mark.parametrize("layout", [tars, tables], ids=lambda layout: layout.__name__)
def test_what_lies_beside_files_in_the_folder_of_a_split_is_told(
    layout: Callable[[Path], object], tmp_path: Path
) -> None:
    layout(tmp_path)
    assert open_source(write(tmp_path, "train/y.incomplete")).inventory.groups["passed_over"].names == {
        ".incomplete": 1
    }


def test_a_link_to_nothing_beside_the_files_may_be_a_folder_and_is_refused(tmp_path: Path) -> None:
    tars(tmp_path)
    (tmp_path / "more").symlink_to("/unmounted")
    with pytest.raises(BadInput, match="more: a link to /unmounted, which is not there"):
        open_source(tmp_path)


def test_a_class_of_half_a_character_is_one_line(tmp_path: Path) -> None:
    tables(tmp_path, ("ant", "\ud800"))
    with pytest.raises(BadInput, match=r"the name of class '\\ud800' is not UTF-8 text"):
        open_source(tmp_path)


def test_a_folder_of_another_split_may_have_any_name(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / os.fsdecode(b"test\xff")).mkdir()
    assert open_source(tmp_path).inventory.groups["not_read"].names == {"test\\xff/": 1}
