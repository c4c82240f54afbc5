"""Lists of images: `--list` (dataset/list_file.py), the Hub's metadata (hub_metadata.py), FiftyOne (fiftyone.py)."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from archives import SORTED, WORDS, jpeg

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Account
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source import Source
from tencrop.dataset.source_options import SourceOptions
from tencrop.images.errors import ImageMissing
from tencrop.model.contract import Label

NAMES = "".join(f"{wnid} {words}\n" for wnid, words in zip(SORTED, WORDS, strict=True))


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def pictures(*names: str) -> dict[str, str | bytes]:
    return {name: jpeg(number) for number, name in enumerate(names)}


def open_listed(root: Path, content: str | bytes, name: str = "list.txt", names: str | None = None) -> Source:
    """The source of `root` with this list, which lies beside it."""
    write(root.parent, {name: content} | ({"names.txt": names} if names else {}))
    return open_source(root, SourceOptions(names=root.parent / "names.txt" if names else None, list=root.parent / name))


def pairs(source: Source) -> list[tuple[str, str]]:
    return [(entry.id, source.labels[entry.label].id) for entry in source.entries]


def account(source: Source) -> list[str]:
    return Account.close(source.inventory, len(source.entries), ()).format()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "data", pictures("a.jpg", "b c.JPEG", "deep/d.png"))


FORMS = {
    "text": ("l.txt", "a.jpg dog\nb c.JPEG cat\ndeep/d.png dog\n"),
    "text with tabs and a header": ("l.txt", "path\tlabel\na.jpg\tdog\nb c.JPEG\tcat\ndeep/d.png\tdog"),
    "text of Windows": ("l.lst", "\ufeffa.jpg dog\r\n\r\nb c.JPEG  cat\r\ndeep\\d.png dog\r\n"),
    "csv with quotes": ("l.csv", 'path,label\n"a.jpg",dog\n"b c.JPEG","cat"\n./deep/d.png,dog\n'),
    "csv without a header": ("l.csv", "a.jpg,dog\nb c.JPEG,cat\ndeep/d.png,dog\n"),
    "csv of other columns too": (
        "l.csv",
        ",label,Width,FileName\n0,dog,1,a.jpg\n1,cat,2,b c.JPEG\n2,dog,3,deep/d.png\n",
    ),
    "csv of ids": ("L.CSV", "id,breed\na,dog\nb c,cat\ndeep/d,dog\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_of_a_list_are_read_alike(root: Path, form: str) -> None:
    name, content = FORMS[form]
    source = open_listed(root, content, name)
    assert pairs(source) == [("a.jpg", "dog"), ("b c.JPEG", "cat"), ("deep/d.png", "dog")]
    assert source.labels == (Label("cat", "cat"), Label("dog", "dog"))
    assert [source.read(entry) for entry in source.entries] == [jpeg(0), jpeg(1), jpeg(2)]
    assert account(source) == ["3 seen: 3 taken"]


def test_absolute_paths_below_the_folder_are_read(root: Path) -> None:
    assert pairs(open_listed(root, f"{root.resolve()}/a.jpg dog\n")) == [("a.jpg", "dog")]


@pytest.mark.parametrize("path", ["../x.jpg", "/etc/passwd", "deep/../../x.jpg", "..", "."])
def test_a_path_never_leads_out_of_the_folder(root: Path, path: str) -> None:
    write(root.parent, pictures("x.jpg"))
    with pytest.raises(BadInput, match=r"names .* which is not in"):
        open_listed(root, f"a.jpg dog\n{path} dog\n")


def test_numbers_are_positions_in_the_names_and_without_names_they_are_ids(root: Path) -> None:
    content = "a.jpg 2\nb c.JPEG 0\ndeep/d.png 10\n"
    assert [label.id for label in open_listed(root, content).labels] == ["0", "2", "10"]
    with pytest.raises(BadInput, match=r"names 3 classes, but there is a label 10; count from 0"):
        open_listed(root, content, names=NAMES)
    source = open_listed(root, content.replace("10", "2"), names=NAMES)
    assert pairs(source) == [("a.jpg", SORTED[2]), ("b c.JPEG", SORTED[0]), ("deep/d.png", SORTED[2])]
    assert source.labels == tuple(Label(wnid, words) for wnid, words in zip(SORTED, WORDS, strict=True))


def test_numbers_that_are_ids_of_the_names_are_ids(root: Path) -> None:
    source = open_listed(root, "a.jpg 1\nb c.JPEG 2\n", names="1 one\n2 two\n3 three\n")
    assert [(entry.id, source.labels[entry.label].name) for entry in source.entries] == [
        ("a.jpg", "one"),
        ("b c.JPEG", "two"),
    ]


def test_ids_get_their_words_and_an_unknown_one_is_refused(root: Path) -> None:
    source = open_listed(root, f"a.jpg {SORTED[1]}\n", names=NAMES)
    assert source.labels == (Label(SORTED[1], WORDS[1]),)
    with pytest.raises(BadInput, match=r"no words for 'n0999'"):
        open_listed(root, "a.jpg n0999\n", names=NAMES)


def test_numbers_in_the_order_of_the_devkit_are_refused_by_the_wnids_in_the_names(tmp_path: Path) -> None:
    names = [f"{wnid}_1.JPEG" for wnid in SORTED]
    root = write(tmp_path / "data", pictures(*names))
    with pytest.raises(BadInput, match=r"label 0 is class n01440764, but its images are named n02119789"):
        open_listed(root, f"{names[1]} 0\n{names[0]} 1\n{names[2]} 2\n", names=NAMES)


def test_what_the_list_and_the_folder_do_not_share_is_told(root: Path) -> None:
    write(root, pictures("deep/more.jpg") | {"deep/x.txt": "", ".hidden/e.jpg": jpeg(4)})
    os.symlink("/nowhere/g.jpg", root / "g.jpg")
    source = open_listed(root, "a.jpg 1\na.jpg 1\ngone.jpg 1\nb c.JPEG 0\n.hidden/e.jpg 0\ng.jpg 1\n")
    assert [entry.id for entry in source.entries] == [".hidden/e.jpg", "a.jpg", "b c.JPEG", "g.jpg", "gone.jpg"]
    for entry in source.entries:
        if entry.id.startswith("g"):
            with pytest.raises(ImageMissing):
                source.read(entry)
        else:
            source.read(entry)
    assert account(source) == [
        "9 seen: 5 taken",
        "  2 passed over by name: .hidden/, .txt",
        "  2 without a label: deep/d.png, deep/more.jpg",
        "  1 more lines that name an image again, with the same label: a.jpg",
    ]


def test_the_list_and_the_names_are_no_part_of_the_data(root: Path) -> None:
    write(root, {"list.csv": "path,label\na.jpg,0\nb c.JPEG,1\ndeep/d.png,1\n", "names.txt": "cat\ndog\n"})
    source = open_source(root, SourceOptions(names=root / "names.txt", list=root / "list.csv"))
    assert account(source) == ["3 seen: 3 taken"]


def test_a_link_to_a_folder_that_was_visited_is_followed_all_the_same(root: Path) -> None:
    os.symlink(root / "deep", root / "link")
    assert pairs(open_listed(root, "deep/d.png dog\nlink/d.png dog\n")) == [
        ("deep/d.png", "dog"),
        ("link/d.png", "dog"),
    ]


def test_paths_that_begin_with_folders_of_splits_are_a_split(tmp_path: Path) -> None:
    root = write(tmp_path / "data", pictures("train/1.jpg", "val/2.jpg", "val/3.jpg", "test/4.jpg", "5.jpg"))
    content = "train/1.jpg cat\nval/2.jpg dog\ntest/4.jpg cat\n"
    source = open_listed(root, content)
    assert [(entry.id, entry.validation) for entry in source.entries] == [("train/1.jpg", False), ("val/2.jpg", True)]
    assert account(source)[1:] == [
        "  2 without a label: 5.jpg, val/3.jpg",
        "  1 not looked at, of another split or configuration: test/",
    ]
    own = open_source(root, SourceOptions(list=tmp_path / "list.txt"), training=False)
    assert pairs(own) == [("val/2.jpg", "dog")] and own.labels == source.labels


def test_folders_that_are_classes_are_no_split(tmp_path: Path) -> None:
    root = write(tmp_path / "data", pictures("train/1.jpg", "bus/2.jpg"))
    source = open_listed(root, "train/1.jpg train\nbus/2.jpg bus\n")
    assert [entry.validation for entry in source.entries] == [None, None]


@pytest.mark.parametrize(
    ("other", "message"),
    [("dev", r"dev/ and val/ are both for validation"), ("more", r"beside it after none that is known; move more/")],
)
def test_folders_of_one_split_or_of_none_beside_a_split_are_refused(tmp_path: Path, other: str, message: str) -> None:
    names = ("train/1.jpg", "val/2.jpg", f"{other}/3.jpg")
    root = write(tmp_path / "data", pictures(*names))
    with pytest.raises(BadInput, match=message):
        open_listed(root, "".join(f"{name} cat\n" for name in names))


FAULTS = {
    "no file": ("l.txt", None, r"l\.txt: cannot be read \(No such file or directory\)$"),
    "empty": ("l.txt", "", r"l\.txt: is empty; expected lines"),
    "no text": ("l.txt", b"\xff\xfe\x00", r"l\.txt: cannot be read as text"),
    "a word": ("l.txt", "a.jpg dog\nb.jpg\n", r"line 2 is 'b.jpg', no path and label"),
    "csv of three columns": ("l.csv", "a.jpg,1,2\n", r"line 1 is 'a.jpg 1 2', no path and label"),
    "ragged csv": ("l.csv", "path,label\na.jpg,1\nb,1,2\n", r"line 3 is 'b 1 2', no path and label"),
    "unclear column": ("l.csv", "path,a,b\na.jpg,1,2\n", r"has the columns path, a, b, and none is called label"),
    "unknown header": ("l.csv", "Photo,Animal\na.jpg,dog\n", r"line 1 is 'Photo Animal', no image as in line 2, and"),
    "open quote": ("l.csv", 'path,label\n"a.jpg,1\n', r"l\.csv: cannot be read as text"),
    "no path": ("l.csv", "path,label\n,1\n", r"line 2 is '1', no path and label"),
    "two labels": ("l.txt", "a.jpg dog\n./a.jpg cat\n", r"labels './a.jpg' both 'dog' and 'cat'"),
    "none is there": (
        "l.txt",
        "x.jpg dog\ny.jpg dog\n",
        r"names 2 images, none of which is there, such as 'x.jpg'; name",
    ),
    "another folder": ("l.txt", "d.png dog\n", r"none of which is there, such as 'd.png'; .*/deep has it: name that"),
    "no label": ("l.csv", "path,label\na.jpg,\n", r"l\.csv: labels no image"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_list_is_one_line_of_bad_input(root: Path, fault: str) -> None:
    name, content, message = FAULTS[fault]
    if content is not None:
        write(root.parent, {name: content})
    with pytest.raises(BadInput, match=message) as error:
        open_source(root, SourceOptions(list=root.parent / name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["data/train", "data/train/deep", "elsewhere"])
def test_a_list_of_another_folder_is_told_which_it_may_be(tmp_path: Path, place: str) -> None:
    write(tmp_path, pictures("data/train/1.jpg", "data/train/deep/2.jpg", "elsewhere/3.jpg"))
    advice = rf"{tmp_path}/data has it: name that folder" if place == "data/train" else "name the folder that its paths"
    with pytest.raises(BadInput, match=rf"none of which is there, such as 'train/1.jpg'; {advice}"):
        open_listed(tmp_path / place, "train/1.jpg cat\n")


def test_an_id_that_two_files_may_be_is_refused(root: Path) -> None:
    write(root, pictures("a.png"))
    with pytest.raises(BadInput, match=r"names 'a', which may be a\.(jpg or a\.png|png or a\.jpg); name the file"):
        open_listed(root, "id,label\na,dog\n", "l.csv")


def test_a_list_that_is_no_file_is_not_opened(root: Path) -> None:
    os.mkfifo(root.parent / "pipe")
    with pytest.raises(BadInput, match="pipe: is no file"):
        open_source(root, SourceOptions(list=root.parent / "pipe"))


CSV = "file_name,text,label\n1.jpg,a cat,cat\nmore/2.jpg,a dog,dog\n"
JSONL = '{"file_name": "1.jpg", "label": "cat", "n": [1]}\n\n{"file_name": "more/2.jpg", "label": "dog"}\n'


@pytest.mark.parametrize(("name", "content"), [("metadata.csv", CSV), ("metadata.jsonl", JSONL)])
def test_the_hubs_metadata_is_read_without_an_option(tmp_path: Path, name: str, content: str) -> None:
    source = open_source(write(tmp_path, pictures("1.jpg", "more/2.jpg", "3.jpg") | {name: content}))
    assert pairs(source) == [("1.jpg", "cat"), ("more/2.jpg", "dog")]
    assert account(source) == ["3 seen: 2 taken", "  1 without a label: 3.jpg"]


def test_the_hubs_metadata_in_the_folders_of_splits_makes_a_split(tmp_path: Path) -> None:
    write(tmp_path, pictures("train/1.jpg", "validation/1.jpg", "test/1.jpg"))
    for split, label in {"train": "0", "validation": "1", "test": ""}.items():
        write(tmp_path, {f"{split}/metadata.csv": f"file_name,label\n1.jpg,{label}\n"})
    source = open_source(tmp_path)
    assert [(entry.id, entry.label, entry.validation) for entry in source.entries] == [
        ("train/1.jpg", 0, False),
        ("validation/1.jpg", 1, True),
    ]
    assert [entry.id for entry in open_source(tmp_path, training=False).entries] == ["validation/1.jpg"]


def test_a_test_split_of_the_hub_without_labels_leaves_the_training_split(tmp_path: Path) -> None:
    write(tmp_path, pictures("train/1.jpg", "test/1.jpg"))
    write(tmp_path, {"train/metadata.csv": "file_name,label\n1.jpg,cat\n", "test/metadata.csv": "file_name\n1.jpg\n"})
    for training in (True, False):
        source = open_source(tmp_path, training=training)
        assert pairs(source) == [("train/1.jpg", "cat")] and source.entries.validation is None
        assert account(source) == ["2 seen: 1 taken", "  1 without a label: test/1.jpg"]


HUB_FAULTS: dict[str, tuple[dict[str, str | bytes], str]] = {
    "no labels": (
        {"metadata.csv": "file_name,text\n1.jpg,x\n"},
        r"has the columns file_name, text, and none is",
    ),
    "two files": ({"metadata.csv": CSV, "metadata.jsonl": JSONL}, r"holds metadata.csv and metadata.jsonl; keep one"),
    "no JSON": ({"metadata.jsonl": JSONL + "{"}, r"line 4 is no JSON object"),
    "a list": ({"metadata.jsonl": '{"file_name": "1.jpg", "label": [1]}'}, r'holds .*"label": \[1\]}; expected rows'),
    "half a character": (
        {"metadata.jsonl": '{"file_name": "\\ud800.jpg", "label": 1}'},
        r"holds '\\ud800.jpg' and '1', no UTF-8 text",
    ),
    "a short row": ({"metadata.jsonl": JSONL + '{"label": 1}'}, r'holds {"label": 1}; expected rows'),
    "a comma without quotes": ({"metadata.csv": "file_name,label\n1.jpg,tench, Tinca\n"}, "line 2 has not 2 fields"),
    "a row of one field": ({"metadata.csv": "file_name,label\n1.jpg\n"}, "line 2 has not 2 fields, as the header"),
    "labels of none": ({"metadata.csv": "file_name,label\n1.jpg,\n"}, "metadata.csv: labels no image"),
    "a split without a file": (
        {"train/metadata.csv": "file_name,label\n1.jpg,x\n", "val/x/1.jpg": ""},
        "val: holds no metadata.csv, as .*train does",
    ),
    "out": ({"metadata.csv": "file_name,label\n../1.jpg,x\n"}, r"names '../1.jpg', which is not in"),
}


@pytest.mark.parametrize("fault", HUB_FAULTS)
def test_a_fault_of_the_hubs_metadata_is_one_line_of_bad_input(tmp_path: Path, fault: str) -> None:
    files, message = HUB_FAULTS[fault]
    with pytest.raises(BadInput, match=message):
        open_source(write(tmp_path, pictures("1.jpg", "more/2.jpg") | files))


# `datasets` starts threads and imports torch: it reads in a process of its own
READER = """
import json, sys
from datasets import Image, load_dataset
found = load_dataset("imagefolder", data_dir=sys.argv[1], cache_dir=sys.argv[2])
for split, rows in found.cast_column("image", Image(decode=False)).items():
    print(json.dumps([[split, row["image"]["path"], row["label"]] for row in rows]))
"""


@pytest.mark.slow
def test_the_hubs_metadata_is_read_as_datasets_reads_it(tmp_path: Path) -> None:
    for split, labels in {"train": ("cat", "dog"), "test": ("dog", "dog")}.items():
        write(tmp_path / "data" / split, pictures("1.jpg", "more/2.jpg"))
        lines = "".join(f"{name},{label}\n" for name, label in zip(("1.jpg", "more/2.jpg"), labels, strict=True))
        write(tmp_path / "data" / split, {"metadata.csv": f"file_name,label\n{lines}"})
    command = [sys.executable, "-W", "ignore", "-c", READER, str(tmp_path / "data"), str(tmp_path / "cache")]
    done = subprocess.run(command, check=True, capture_output=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    expected = [row for line in done.stdout.splitlines() for row in json.loads(line)]
    source = open_source(tmp_path / "data")
    assert sorted(expected) == sorted(
        ["test" if entry.validation else "train", str(tmp_path / "data" / entry.id), source.labels[entry.label].id]
        for entry in source.entries
    )


def test_metadata_of_something_else_leaves_the_class_folders(tmp_path: Path) -> None:
    write(tmp_path, pictures("cat/1.jpg", "dog/1.jpg") | {"metadata.csv": "key,value\nlicence,CC0\n"})
    assert pairs(open_source(tmp_path)) == [("cat/1.jpg", "cat"), ("dog/1.jpg", "dog")]


def labels_json(labels: Mapping[str, object], classes: list[str] | None = None) -> str:
    return json.dumps({"classes": classes or ["dog", "cat"], "labels": labels})


def test_fiftyones_labels_are_read_without_an_option(tmp_path: Path) -> None:
    labels = {"1": 0, "deep/2.jpg": 1, "3": None, "4": {"label": 1, "confidence": 0.9}, "gone": 0}
    write(tmp_path, pictures("data/1.jpg", "data/deep/2.jpg", "data/3.png", "data/4.jpg", "data/5.jpg"))
    source = open_source(write(tmp_path, {"labels.json": labels_json(labels)}))
    assert pairs(source) == [
        ("data/1.jpg", "dog"),
        ("data/4.jpg", "cat"),
        ("data/deep/2.jpg", "cat"),
        ("data/gone", "dog"),
    ]
    assert account(source) == ["6 seen: 4 taken", "  2 without a label: data/3, data/5.jpg"]


def test_two_of_fiftyones_classes_with_one_name_stay_two(tmp_path: Path) -> None:
    """ImageNet's crane is a bird, and a machine."""
    content = labels_json({"1": 0, "2": 1}, ["crane", "crane"])
    source = open_source(write(tmp_path, pictures("data/1.jpg", "data/2.jpg") | {"labels.json": content}))
    assert pairs(source) == [("data/1.jpg", "crane #0"), ("data/2.jpg", "crane #1")]


def test_fiftyones_splits_and_names_without_classes_are_read(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / split, pictures("data/1.jpg") | {"labels.json": json.dumps({"labels": {"1": f"{split}ed"}})})
    source = open_source(tmp_path)
    assert [(*pair, entry.validation) for pair, entry in zip(pairs(source), source.entries, strict=True)] == [
        ("train/data/1.jpg", "trained", False),
        ("val/data/1.jpg", "valed", True),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"labels.json: is not JSON"),
        ("[]", r"labels.json: holds no labels by image; expected"),
        (labels_json({"1": 2}), r"the label of '1' is 2, none of the classes"),
        (labels_json({"1": -1}), r"the label of '1' is -1, none of the classes"),
        (labels_json({"1": [0, 1]}), r"the label of '1' is \[0, 1\], none of the classes"),
    ],
)
def test_a_faulty_labels_json_is_one_line_of_bad_input(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        open_source(write(tmp_path, pictures("data/1.jpg") | {"labels.json": content}))
