"""dataset/wrong_layout.py: each wrong layout is told by what was seen and the nearest layout that can be read."""

from pathlib import Path

import pytest
from archives import jpeg, tar

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare

CASES = {  # files below DATA: the message, where DATA is D
    "nothing": ((), "D: is empty; expected D/<class>/<image>, ILSVRC's or WebDataset tars, or parquet files"),
    "images alone": (
        ("1.jpg", "2.JPG", "3.png", "notes.txt"),
        "D: holds no class folders, but 2 x .jpg, .png, .txt; expected D/<class>/<image>, or the classes of the images"
        " in a file: --list FILE",
    ),
    "other files": (
        ("README", ".git/config", "model.onnx"),
        "D: holds no class folders, but .git/, .onnx, README; expected D/<class>/<image>, ILSVRC's or WebDataset tars,"
        " or parquet files",
    ),
    "zips": (
        ("ant.zip", "bee.zip"),
        "D: holds no class folders, but 2 x .zip; unpack what is packed: expected D/<class>/<image>",
    ),
    "zips of a class": (
        ("ant/1.zip", "ant/2.zip", "bee/1.jpg"),
        "D/ant: a class without an image (it holds 2 x .zip); unpack what is packed, or move the folder elsewhere",
    ),
    "suffixes that are not read": (
        ("ant/1.dng", "ant/2.nef", "ant/3.dng", "bee/1.jpg"),
        "D/ant: a class without an image (it holds 2 x .dng, .nef); add some (.apng .avif .avifs .bmp .gif .heic"
        " .heics .heif .heifs .hif .jfif .jpe .jpeg .jpg .png .tif .tiff .webp), move it elsewhere,"
        " or name the folder whose folders are the classes",
    ),
    "a folder of the classes": (
        ("images/ant/1.jpg", "images/bee/1.jpg", "README"),
        "D: holds one class folder, images, with folders in it; name D/images instead",
    ),
    "a folder of splits": (
        ("imagenette2/train/ant/1.jpg", "imagenette2/val/ant/1.jpg"),
        "D: holds one class folder, imagenette2, with folders in it; name D/imagenette2 instead",
    ),
    "training images without classes": (
        ("train/1.jpg", "train/2.jpg"),
        "D/train: holds no class folders, but 2 x .jpg; expected D/train/<class>/<image>, or the classes of the images"
        " in a file: --list FILE",
    ),
    "two splits without classes": (
        ("train/1.jpg", "test/2.jpg"),
        "D/train: holds no class folders, but .jpg; expected D/train/<class>/<image>, or the classes of the images in a"
        " file: --list FILE",
    ),
    "a test split without classes": (
        ("img_test/1.jpg",),
        "D/img_test: holds no class folders, but .jpg; expected D/img_test/<class>/<image>, or the classes of the"
        " images in a file: --list FILE",
    ),
    "a prepared data set": (
        ("prepared.json", "index.parquet", "part-00000.bin"),
        "D: a data set that is prepared already; name the one that it was made of",
    ),
    "a tar of each class": (
        ("n01440764.tar", "n01443537.tar"),
        "D: holds a tar of each class, such as n01440764.tar; unpack each into a folder of its name, or name the folder"
        " of the tar that they were in",
    ),
    "a tar of each class of a split": (
        ("train/n01440764.tar", "train/n01443537.tar", "val/n01440764.tar"),
        "D: holds a tar of each class, such as train/n01440764.tar; unpack each into a folder of its name, or name the"
        " folder of the tar that they were in",
    ),
    "tars of no known split": (
        ("train/0.tar", "foo/0.tar"),
        "D: train/0.tar is named after a split, and foo/0.tar beside it after none that is known; move foo/0.tar"
        " elsewhere, or rename it; the words of splits are train, training, val, valid, validation, dev, eval,"
        " evaluation, test, testing",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("training", [True, False], ids=["prepare", "evaluate"])
def test_the_message_names_what_was_seen_and_the_nearest_layout(tmp_path: Path, case: str, training: bool) -> None:
    names, message = CASES[case]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(tar({}) if name.endswith(".tar") else jpeg(1))
    with pytest.raises(BadInput) as caught:
        open_source(tmp_path, training=training)
    assert str(caught.value).replace(str(tmp_path), "D") == message


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("x.zip", "unpack it and name the folder"),
        ("x.tar", "unpack it and name the folder, or name D if it is a tar of WebDataset or ILSVRC-2012"),
        ("x.tar.gz", "unpack it and name the folder, or name D if it is a tar of WebDataset or ILSVRC-2012"),
        ("val.csv", "name the folder of its images, with --list D/val.csv"),
        ("train-0.parquet", "name a folder: D, or the one whose folders are the classes"),
        ("photo.jpg", "name a folder: D, or the one whose folders are the classes"),
    ],
)
def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadInput) as caught:
        open_source(tmp_path / name)
    expected = f"D/{name}: is a file, and a data set is a folder; {advice}"
    assert str(caught.value).replace(str(tmp_path), "D") == expected


def test_one_class_is_too_few_for_a_training(tmp_path: Path) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "images" / "1.jpg").write_bytes(jpeg(1))
    with pytest.raises(
        BadInput, match=r"all its images are of one class, 'images'; .* DATA/<class>/<image>, or --list"
    ):
        prepare(open_source(tmp_path / "data"), tmp_path / "out", 0, lambda done: None)
