"""Parquet layout of the Hugging Face hub: columns image.bytes, image.path and label; class names in the schema."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tencrop.common.errors import BadInput
from tencrop.dataset.account import WITHOUT_LABEL, Inventory
from tencrop.dataset.class_names import adopt_wnids, find_names_file, read_labels_by_index
from tencrop.dataset.names_file import WNID
from tencrop.dataset.parquet_listing import read_listing
from tencrop.dataset.parquet_rows import RowGroups
from tencrop.dataset.source import Entries, Entry, NoImages, ProgressCallback
from tencrop.dataset.split_from_path import choose_held_split, choose_inventories, infer_splits
from tencrop.model.contract import Label


@dataclass(frozen=True)
class Parquet:
    """Images in rows; an entry's place is (index of the file, row group, row in the group)."""

    root: Path
    labels: tuple[Label, ...]
    entries: Entries
    rows: RowGroups
    inventory: Inventory

    def read(self, entry: Entry) -> bytes:
        """Read image.bytes; a null is no bytes. Raises OSError where the file is missing or damaged."""
        return self.rows.read(*entry.place)


class _Rows(NamedTuple):
    """The labelled rows of one file."""

    paths: pa.Array  # string [n]
    ids: pa.Array  # string [n]: file and row, used where the paths are not unique
    labels: np.ndarray  # int32 [n]
    validation: np.ndarray  # bool [n]
    places: np.ndarray  # int64 [n,3]
    words: list[str]  # class names in the schema; empty where it has none


def open_parquet(
    root: Path,
    found: list[str],
    names: Path | None,
    progress: ProgressCallback,
    training: bool = True,
) -> Parquet:
    """List the rows of the files `found` below `root`. Ids are image.path where that is unique, else file and row.

    Without `training` the rows of the training files are left out where there are other files. Raises BadInput where a
    file is damaged or lacks the columns, and where nothing names the classes; NoImages where no row has a label.
    """
    inventory = Inventory()
    splits = infer_splits(root, found)
    held = choose_held_split(splits.values())
    inventories = choose_inventories(splits, training, inventory)
    files = tuple(inventories)
    tables: list[_Rows] = []
    for place, (path, counted) in enumerate(inventories.items()):
        tables.append(_list_rows(root, path, place, splits[path] == held, splits[path] == "test", counted))
        progress(sum(len(table.labels) for table in tables))
    paths, ids = (pa.concat_arrays([table[column] for table in tables]) for column in (0, 1))
    labels, validation, places = (np.concatenate([table[column] for table in tables]) for column in (2, 3, 4))
    classes = _read_classes(root, files, tables, names)
    if not len(labels):
        raise NoImages(f"{root}: its parquet files hold no labelled rows")
    if labels.max() >= len(classes):
        raise BadInput(f"{root}: holds label {labels.max()}, but only {len(classes)} classes are named")
    unique = not paths.null_count and pc.count_distinct(paths).as_py() == len(paths)
    entries = Entries.from_columns(root, paths if unique else ids, labels, validation, places)
    sizes = [len(table.labels) for table in tables]
    mine = np.repeat([counted is inventory for counted in inventories.values()], sizes)
    if not mine.any():
        raise NoImages(f"{root}: its parquet files for validation hold no labelled rows")
    checked = adopt_wnids(root, classes, _find_wnids(paths, labels))
    return Parquet(root, checked, entries.select(mine), RowGroups(tuple(root / path for path in files)), inventory)


def _list_rows(root: Path, path: str, place: int, held: bool, test: bool, inventory: Inventory) -> _Rows:
    """List labels and paths of one file, without the image bytes. In a test split, rows with label -1 are left out."""
    file = root / path
    try:
        with pq.ParquetFile(file) as opened:
            words = _read_words(opened.schema_arrow.metadata or {})
            sizes = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
            table = read_listing(opened, file)
        paths = pc.struct_field(table["image"].combine_chunks(), "path").cast(pa.string())
        labels = table["label"].cast(pa.int32()).fill_null(-1).to_numpy()
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise BadInput(
            f"{file}: not parquet with the columns image (bytes, path) and label ({error})",
            "move it away if it does not belong to the data set",
        ) from None
    rows = np.concatenate([np.arange(size) for size in sizes] or [np.zeros(0, np.int64)])
    places = np.stack([np.full(len(rows), place), np.repeat(np.arange(len(sizes)), sizes), rows], 1)
    good = labels >= 0
    if not test and not good.all():
        raise BadInput(f"{file}: row {int(np.argmin(good))} has no label", "only a test split may be without labels")
    inventory.see(len(labels))
    if not good.all():
        inventory.leave_out(WITHOUT_LABEL, path, int((~good).sum()))
    ids = pa.array([f"{path}/{row:07d}" for row in np.flatnonzero(good)], pa.string())
    return _Rows(paths.filter(pa.array(good)), ids, labels[good], np.full(len(ids), held), places[good], words)


def _read_words(metadata: dict[bytes, bytes]) -> list[str]:
    """Read the class names that `datasets` writes in the schema: info.features.label.names."""
    try:
        document: Any = json.loads(metadata[b"huggingface"])
        return [str(name) for name in document["info"]["features"]["label"]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _read_classes(root: Path, files: tuple[str, ...], tables: list[_Rows], names: Path | None) -> tuple[Label, ...]:
    """Make the labels from the schema's names, which all files must share, and the file of names where there is one."""
    odd = next((file for file, table in zip(files, tables, strict=True) if table.words != tables[0].words), None)
    if odd:
        raise BadInput(f"{root / odd}: names other classes than {root / files[0]}", "keep one data set in a folder")
    names = find_names_file(root, names)
    if not tables or not (tables[0].words or names):
        raise BadInput(f"{root}: no class names in the parquet schema", "give the class names in a file")
    return read_labels_by_index(tables[0].words, names)


def _find_wnids(paths: pa.Array, labels: np.ndarray) -> dict[int, set[str]]:
    """Collect, for each label, the wnids at the end of its images' names (n01440764_10026_n01440764.JPEG)."""
    found: pa.Array = pc.struct_field(pc.extract_regex(paths, f".*(?P<wnid>{WNID.pattern})"), "wnid")
    pairs = pa.table({"label": labels, "wnid": found}).group_by(["label", "wnid"]).aggregate([])
    seen: dict[int, set[str]] = defaultdict(set)
    for label, wnid in zip(pairs["label"].to_pylist(), pairs["wnid"].to_pylist(), strict=True):
        seen[label].update([wnid] if wnid else [])
    return seen
