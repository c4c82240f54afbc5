"""metadata.csv or metadata.jsonl of the Hugging Face hub's imagefolder, at the top or in the folder of each split.

https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.label_list import LabelList, Row
from tencrop.dataset.list_file import open_text
from tencrop.dataset.split_folders import list_split_folders
from tencrop.dataset.split_from_path import Split

FILES = ("metadata.csv", "metadata.jsonl")
PATH, LABEL = "file_name", "label"
EXPECTED = f"expected rows with {PATH} and {LABEL}"


def find_metadata(root: Path) -> list[LabelList]:
    """Find the file at the top, else those in the folders of splits. A file without file_name does not count.

    Raises BadInput for two in one folder, and where there are no labels, unless it is in the test split's folder.
    """
    return _find(root, None) or [found for top, split in list_split_folders(root) for found in _find(top, split)]


def _find(top: Path, split: Split | None) -> list[LabelList]:
    columns = {top / name: list(next(_iter_records(top / name), {})) for name in FILES if (top / name).is_file()}
    files = [file for file in columns if PATH in columns[file]]
    if len(files) > 1:
        raise BadInput(f"{top}: holds {' and '.join(FILES)}", "keep one of them")
    for file in files:
        if LABEL not in columns[file] and split != "test":
            raise BadInput(
                f"{file}: has the columns {one_line(', '.join(columns[file]))}, and none is called {LABEL}",
                "add one, or move the file away if folders are the classes",
            )
    return [LabelList(file, _iter_rows(file), top, top, split) for file in files]


def _iter_rows(file: Path) -> Iterator[Row]:
    for record in _iter_records(file):
        path, label = record.get(PATH), record.get(LABEL)
        if not path or not isinstance(path, str) or not isinstance(label, str | int | None):
            raise BadInput(f"{file}: holds {one_line(json.dumps(record))}", EXPECTED)
        yield Row(path, None if label is None else str(label))


def _iter_records(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows by column. Raises BadInput."""
    with open_text(file) as lines:
        if file.suffix == ".csv":
            yield from _iter_csv(file, csv.DictReader(lines, strict=True))
            return
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise BadInput(f"{file}: line {number} is no JSON object", EXPECTED)
            if record:
                yield record


def _iter_csv(file: Path, reader: "csv.DictReader[str]") -> Iterator[dict[str, Any]]:
    """Yield the rows. Raises BadInput for one with more or fewer fields than there are columns."""
    for record in reader:
        if None in record or None in record.values():
            columns = len(reader.fieldnames or ())
            raise BadInput(f"{file}: line {reader.line_num} has not {columns} fields, as the header", EXPECTED)
        yield record
