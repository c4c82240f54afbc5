"""dataset/saved_dataset.py: what `save_to_disk` of `datasets` writes is read in place, row by row."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from archives import jpeg, read_all, read_by_threads
from support.arrow_files import make_table, save

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Account
from tencrop.dataset.layouts import open_source
from tencrop.dataset.saved_dataset import SavedDataset
from tencrop.dataset.source_options import SourceOptions
from tencrop.images.errors import ImageMissing
from tencrop.model.contract import Label

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

# `datasets` starts threads and imports torch: it writes in a process of its own
WRITER = """
import sys
from pathlib import Path
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, disable_progress_bars
disable_progress_bars()
photos, out = map(Path, sys.argv[1:])
names = sorted(map(str, photos.iterdir()))
features = Features({"image": Image(), "label": ClassLabel(names=["ant", "bee"])})
whole = Dataset.from_dict({"image": names, "label": [n % 2 for n in range(len(names))]}, features=features)
whole.save_to_disk(out / "whole")
whole.select([7, 3]).save_to_disk(out / "selected")
DatasetDict(train=whole, dev=whole.select([1, 2])).save_to_disk(out / "splits", num_shards={"train": 3, "dev": 1})
texts = whole.remove_columns("label").add_column("class", [["b", "a"][n % 2] for n in range(len(names))])
texts.rename_column("image", "img").save_to_disk(out / "texts")
whole.map(lambda row: row, cache_file_name=str(out / "whole" / "cache-1.arrow"))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets that `datasets` saved of ten files, whose bytes it embeds."""
    root = tmp_path_factory.mktemp("saved")
    (root / "photos").mkdir()
    for number in range(10):
        (root / "photos" / f"{number}.jpg").write_bytes(jpeg(number))
    command = [sys.executable, "-W", "ignore", "-c", WRITER, str(root / "photos"), str(root)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    for file in (root / "photos").iterdir():
        file.unlink()
    return root


def test_a_dataset_is_read_by_several_threads_without_the_caches_beside_it(written: Path) -> None:
    source = open_source(written / "whole")
    assert isinstance(source, SavedDataset)
    assert source.labels == (Label("ant", "ant"), Label("bee", "bee"))
    assert read_by_threads(source) == {f"{n}.jpg": (n % 2, None, jpeg(n)) for n in range(10)}
    account = Account.close(source.inventory, len(source.entries), ())
    assert account.format() == ["11 seen: 10 taken", "  1 passed over by name: .arrow"]


def test_only_selected_rows_are_saved(written: Path) -> None:
    source = open_source(written / "selected")
    assert [source.read(entry) for entry in source.entries] == [jpeg(7), jpeg(3)]


def test_the_folders_of_a_dataset_dict_are_its_splits(written: Path) -> None:
    source = open_source(written / "splits")
    dev, train = "dev/data-00000-of-00001.arrow", "train/data-{:05d}-of-00003.arrow"
    expected = {f"{dev}/{row:07d}": (n % 2, True, jpeg(n)) for row, n in enumerate([1, 2])}
    for file, rows in enumerate([range(4), range(4, 7), range(7, 10)]):
        expected |= {f"{train.format(file)}/{row:07d}": (n % 2, False, jpeg(n)) for row, n in enumerate(rows)}
    assert read_by_threads(source) == expected
    assert [entry.validation for entry in open_source(written / "splits", training=False).entries] == [True, True]


def test_other_columns_and_texts_are_read(written: Path) -> None:
    source = open_source(written / "texts")
    assert [label.id for label in source.labels] == ["a", "b"]
    assert [(entry.label, source.read(entry)) for entry in source.entries] == [(1 - n % 2, jpeg(n)) for n in range(10)]
    with pytest.raises(BadInput, match="no column 'image' of encoded images"):
        open_source(written / "texts", SourceOptions(image_column="image"))


def test_another_process_reads_the_same(written: Path) -> None:
    source = open_source(written / "splits")
    copy = pickle.loads(pickle.dumps(source))
    assert [copy.read(entry) for entry in copy.entries] == [source.read(entry) for entry in source.entries]


def struct(rows: Sequence[tuple[bytes | None, str | None] | None]) -> pa.Array:
    return pa.array([row and {"bytes": row[0], "path": row[1]} for row in rows], STRUCT)


FORMS: dict[str, pa.DataType] = {
    "bytes and path": STRUCT,
    "path and bytes": pa.struct([("path", pa.large_string()), ("n", pa.int8()), ("bytes", pa.large_binary())]),
    "bytes in a struct": pa.struct([("bytes", pa.binary())]),
    "bytes": pa.binary(),
    "large bytes": pa.large_binary(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_every_form_of_a_column_of_images_is_read(tmp_path: Path, form: str, rows: int) -> None:
    values: list[Any] = [jpeg(1), b"", jpeg(3), jpeg(4), jpeg(5), jpeg(6), jpeg(7)]
    if pa.types.is_struct(FORMS[form]):
        values = [{"bytes": value, "path": f"{row}.jpg"} for row, value in enumerate(values)]
    image = pa.chunked_array([pa.array([values[3], *values], FORMS[form])[1:3], pa.array(values[2:], FORMS[form])])
    save(tmp_path, make_table(image, [0, 1, 0, 1, 0, 1, 1]), rows=rows)
    source = open_source(tmp_path)
    assert [source.read(entry) for entry in source.entries] == [jpeg(1), b"", *(jpeg(n) for n in (3, 4, 5, 6, 7))]
    assert [entry.label for entry in source.entries] == [0, 1, 0, 1, 0, 1, 1]


def test_a_data_set_of_no_rows_is_refused(tmp_path: Path) -> None:
    save(tmp_path, make_table(pa.array([], STRUCT), pa.array([], pa.int64())))
    with pytest.raises(BadInput, match="hold no labelled rows"):
        open_source(tmp_path)


def test_rows_without_bytes_are_refused_or_read_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(jpeg(1))
    rows = [(jpeg(0), "0.jpg"), (None, "1.jpg"), (None, "gone.jpg"), (None, None), None, (jpeg(5), None)]
    save(tmp_path / "d", make_table(struct(rows), [0] * 6))
    with pytest.raises(BadInput, match=r"of-00001\.arrow: 4 of its images have no bytes"):
        open_source(tmp_path / "d")
    source = open_source(tmp_path / "d", SourceOptions(image_root=tmp_path / "photos"))
    assert read_all(source, ImageMissing) == [jpeg(0), jpeg(1), None, None, None, jpeg(5)]
    with pytest.raises(BadInput, match=r"nowhere: holds none of the 4 images that .* names, such as '0\.jpg'"):
        open_source(tmp_path / "d", SourceOptions(image_root=tmp_path / "nowhere"))


def test_a_column_of_paths_is_read(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(5):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(jpeg(number))
    image = pa.array([f"{number}.jpg" for number in range(5)])
    save(tmp_path / "d", make_table(image, [0, 1, 0, 1, 0]))
    source = open_source(tmp_path / "d", SourceOptions(image_root=tmp_path / "photos"))
    assert [source.read(entry) for entry in source.entries] == [jpeg(number) for number in range(5)]


def make_rows(*numbers: int) -> pa.Table:
    return make_table(struct([(jpeg(n), f"{n}.jpg") for n in numbers]), [n % 2 for n in numbers])


def test_of_several_configurations_one_is_chosen(tmp_path: Path) -> None:
    for number, name in enumerate(("default", "cropped")):
        for split in ("train", "test"):
            save(tmp_path / name / split, make_rows(2 * number, 2 * number + 1))
        (tmp_path / name / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(BadInput, match="holds 2 configurations: cropped, default;"):
        open_source(tmp_path)
    source = open_source(tmp_path, SourceOptions(config="cropped"), training=False)
    assert [source.read(entry) for entry in source.entries] == [jpeg(2), jpeg(3)]


def test_a_saved_folder_among_class_folders_is_no_data_set(tmp_path: Path) -> None:
    save(tmp_path / "saved", make_rows(1, 2))
    assert isinstance(open_source(tmp_path), SavedDataset)
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "1.jpg").write_bytes(jpeg(1))
    with pytest.raises(BadInput, match="saved: a class without an image"):
        open_source(tmp_path)


def test_folders_that_are_not_of_the_data_set_are_told(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        save(tmp_path / split, make_rows(1, 2))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    source = open_source(tmp_path)
    assert [entry.validation for entry in source.entries] == [True, True, False, False]
    assert source.inventory.groups["not_read"].names == {"val/": 1}


def test_rows_without_a_label_of_a_test_split_are_counted(tmp_path: Path) -> None:
    save(tmp_path / "test", make_table(struct([(jpeg(0), "0"), (None, "1"), (jpeg(2), "2")]), [0, -1, None]))
    source = open_source(tmp_path)
    assert Account.close(source.inventory, len(source.entries), ()).format()[0] == "3 seen: 1 taken"
    save(tmp_path / "train", make_table(struct([(jpeg(0), "0"), (jpeg(1), "1")]), [0, -1]))
    with pytest.raises(BadInput, match=r"train/data-00000-of-00001\.arrow: row 1 has no label"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ("no json", "is not JSON of datasets"),
        ("[]", "is not JSON of datasets"),
        ('{"x": ' * 100_000, "is not JSON of datasets"),
        ("{}", "names no Arrow files"),
        ('{"_data_files": 3}', "names no Arrow files"),
        ('{"_data_files": [{"filename": "../d/data-00000-of-00001.arrow"}]}', "names no Arrow files"),
        ('{"_data_files": [{"filename": "/etc/passwd"}]}', "names no Arrow files"),
        ('{"_data_files": [{"filename": ".."}]}', "names no Arrow files"),
        ('{"_data_files": [{"filename": "a\\u0000"}]}', "names no Arrow files"),
        ('{"_data_files": [{"filename": 3}]}', "names 3, which is not there"),
        ('{"_data_files": [{"filename": "data-9.arrow"}]}', r"names data-9\.arrow, which is not there; copy"),
        (
            '{"_data_files": [{"filename": "x"}], "_indices_data_files": [{"filename": "y"}]}',
            "selects rows by an index",
        ),
    ],
    ids=["text", "list", "deep", "empty", "number", "above", "absolute", "dots", "zero", "no name", "gone", "index"],
)
def test_a_damaged_state_is_one_line(tmp_path: Path, state: str, line: str) -> None:
    save(tmp_path / "d", make_rows(1, 2))
    (tmp_path / "d" / "state.json").write_text(state)
    with pytest.raises(BadInput, match=rf"state\.json: {line}"):
        open_source(tmp_path / "d")


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({}, "names no splits"),
        ({"splits": ["..", "train"]}, "names no splits"),
        ({"splits": ["train", "test"]}, r"names the split 'test', but test/state\.json is not there"),
    ],
    ids=["empty", "above", "gone"],
)
def test_a_damaged_dataset_dict_is_one_line(tmp_path: Path, document: object, line: str) -> None:
    save(tmp_path / "train", make_rows(1, 2))
    (tmp_path / "dataset_dict.json").write_text(json.dumps(document))
    with pytest.raises(BadInput, match=rf"dataset_dict\.json: {line}"):
        open_source(tmp_path)


def test_a_huge_state_is_not_read(tmp_path: Path) -> None:
    save(tmp_path, make_rows(1, 2))
    with (tmp_path / "state.json").open("wb") as opened:
        opened.truncate(20 << 30)
    with pytest.raises(BadInput, match=r"state\.json: is not JSON of datasets \(more than"):
        open_source(tmp_path)
