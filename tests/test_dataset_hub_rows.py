"""dataset/hub_rows.py: texts as labels are numbered as `datasets` numbers them, over all files of a data set."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import jpeg

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source_options import SourceOptions
from tencrop.model.contract import Label

TEXTS = ["bee", "ant", "Zebra", "ant", "éland", "10", "9", " bee", "\U0001d51ent", "\uffee", "bee"]


def write(file: Path, labels: pa.Array | Sequence[Any], names: Sequence[str] = (), path: str = "{}.jpg") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    features = {"label": {"names": names, "_type": "ClassLabel"}} if names else {}
    image = [{"bytes": jpeg(row), "path": path.format(row)} for row in range(len(labels))]
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(pa.table({"image": image, "label": labels}).replace_schema_metadata(metadata), file)


KINDS = {
    "texts": pa.string(),
    "large texts": pa.large_string(),
    "categories": pa.dictionary(pa.int8(), pa.string()),
}


# `datasets` starts threads: it runs in a process of its own
ENCODE = """
import json, sys
from datasets import Dataset, disable_progress_bars
disable_progress_bars()
encoded = Dataset.from_dict({"label": json.loads(sys.argv[1])}).class_encode_column("label")
print(json.dumps([encoded.features["label"].names, encoded["label"][:]]))
"""


def test_texts_are_numbered_as_datasets_numbers_them(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", ENCODE, json.dumps(TEXTS)]
    names, numbers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for kind, type in KINDS.items():
        write(tmp_path / kind / "a.parquet", pa.array(TEXTS).cast(type))
        source = open_source(tmp_path / kind)
        assert [label.id for label in source.labels] == names
        assert [entry.label for entry in source.entries] == numbers


def test_the_classes_are_the_texts_of_all_files_whatever_is_evaluated(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", ["cat", "ant"], path="t{}.jpg")
    write(tmp_path / "train-1.parquet", ["bee", "ant"], path="u{}.jpg")
    write(tmp_path / "validation-0.parquet", ["cat", "bee", "cat"])
    for training in (True, False):
        source = open_source(tmp_path, training=training)
        assert source.labels == (Label("ant", "ant"), Label("bee", "bee"), Label("cat", "cat"))
        assert [entry.label for entry in source.entries][-3:] == [2, 1, 2]


def test_a_file_of_names_gives_the_words_of_texts(tmp_path: Path) -> None:
    write(tmp_path / "d" / "train-0.parquet", ["n02", "n01"])
    (tmp_path / "words.txt").write_text("n01 tench\nn02 kit fox\nn03 not here\n")
    source = open_source(tmp_path / "d", SourceOptions(tmp_path / "words.txt"))
    assert source.labels == (Label("n01", "tench"), Label("n02", "kit fox"))
    (tmp_path / "words.txt").write_text("n01 tench\n")
    with pytest.raises(BadInput, match=r"words\.txt: no words for 'n02'"):
        open_source(tmp_path / "d", SourceOptions(tmp_path / "words.txt"))


def test_texts_of_numbers_are_positions_in_a_file_of_names_that_has_other_ids(tmp_path: Path) -> None:
    write(tmp_path / "d" / "train-0.parquet", ["1", "0", "1"])
    assert [label.id for label in open_source(tmp_path / "d").labels] == ["0", "1"]
    (tmp_path / "words.txt").write_text("n01440764 tench\nn02119789 kit fox\nn03000684 chain saw\n")
    source = open_source(tmp_path / "d", SourceOptions(tmp_path / "words.txt"))
    assert [source.labels[entry.label].name for entry in source.entries] == ["kit fox", "tench", "kit fox"]


@pytest.mark.parametrize("missing", [None, ""], ids=["null", "empty"])
def test_a_row_without_a_text_has_no_label(tmp_path: Path, missing: str | None) -> None:
    labels = ["bee", missing, "ant"]
    write(tmp_path / "a" / "train-0.parquet", labels)
    with pytest.raises(BadInput, match=r"train-0\.parquet: row 1 has no label"):
        open_source(tmp_path / "a")
    write(tmp_path / "b" / "test-0.parquet", labels)
    source = open_source(tmp_path / "b")
    assert [entry.id for entry in source.entries] == ["0.jpg", "2.jpg"]
    assert [label.id for label in source.labels] == ["ant", "bee"]
    assert (source.inventory.seen, source.inventory.groups["without_label"].count) == (3, 1)


def test_numbers_and_texts_do_not_mix(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [0, 1], ["ant", "bee"])
    write(tmp_path / "validation-0.parquet", ["ant", "bee"])
    with pytest.raises(BadInput, match=r"validation-0\.parquet: names other classes than .*train-0\.parquet"):
        open_source(tmp_path)


NUMBERS: dict[str, list[Any]] = {
    "categories": pa.array([1, 0, 1]).dictionary_encode(),
    "whole floats": [1.0, 0.0, 1.0],
    "truth values": [True, False, True],
    "bytes": pa.array([1, 0, 1], pa.uint8()),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_any_type_are_labels(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a.parquet", NUMBERS[kind], ["ant", "bee"])
    assert [entry.label for entry in open_source(tmp_path).entries] == [1, 0, 1]


@pytest.mark.parametrize("labels", [[0.5, 1], [1 << 40, 0]], ids=["broken", "large"])
def test_numbers_that_are_no_labels_are_one_line(tmp_path: Path, labels: list[float]) -> None:
    write(tmp_path / "a.parquet", labels, ["ant", "bee"])
    with pytest.raises(BadInput, match=r"a\.parquet: not parquet with labelled images, or damaged \("):
        open_source(tmp_path)


@pytest.mark.parametrize("column", ["path", "label"])
def test_text_that_is_not_utf_8_is_one_line(tmp_path: Path, column: str) -> None:
    write(tmp_path / "a.parquet", ["QQQQ", "ant"], path="QQQQ" if column == "path" else "{}")
    file = tmp_path / "a.parquet"
    file.write_bytes(file.read_bytes().replace(b"QQQQ", b"\xff\xff\xff\xff"))
    with pytest.raises(BadInput, match=r"a\.parquet: not parquet with labelled images, or damaged \(.*UTF8"):
        open_source(tmp_path)
