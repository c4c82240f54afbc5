"""The labelled rows of a data set's tables, whatever their files are: selects them, and makes classes and entries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tencrop.common.errors import BadInput
from tencrop.dataset.account import WITHOUT_LABEL, Inventory
from tencrop.dataset.class_names import adopt_wnids, find_names_file, read_labels_by_index, read_labels_by_text
from tencrop.dataset.hub_columns import Columns, Rows
from tencrop.dataset.names_file import WNID
from tencrop.dataset.source import Entries, NoImages
from tencrop.dataset.split_from_path import Split, choose_held_split, choose_inventories
from tencrop.model.contract import Label


class Part(NamedTuple):
    """One file of a data set's tables."""

    path: str  # below the data set's folder
    split: Split
    held: bool  # its images are for validation
    counted: bool  # else it is listed for its classes alone
    inventory: Inventory


class LabelledRows(NamedTuple):
    """The rows of one file that have a label."""

    part: Part
    columns: Columns
    paths: pa.Array  # string [n]
    ids: pa.Array  # string [n]: file and row, used where the paths are not unique
    labels: np.ndarray  # int32 [n]: the class's number, or a position in `texts`
    texts: list[str]  # the different labels where these are texts
    places: np.ndarray  # int64 [n,k]


def choose_parts(splits: Mapping[str, Split], training: bool, inventory: Inventory) -> list[Part]:
    """Choose the files to list, as `choose_inventories` does; splits are by paths."""
    held = choose_held_split(splits.values())
    chosen = choose_inventories(splits, training, inventory)
    return [Part(path, splits[path], splits[path] == held, own is inventory, own) for path, own in chosen.items()]


def select_labelled(file: Path, part: Part, columns: Columns, rows: Rows, places: np.ndarray) -> LabelledRows:
    """Select the rows with a label, and count the others, which only a test split may have. Raises BadInput.

    A number below 0 is no label, and neither is an empty text.
    """
    labels, texts = rows.labels, []
    if columns.has_texts:
        encoded = pc.if_else(pc.equal(labels, ""), pa.scalar(None, pa.string()), labels).dictionary_encode()
        labels, texts = encoded.indices, encoded.dictionary.to_pylist()
    numbers = labels.fill_null(-1).to_numpy()
    good = numbers >= 0
    if part.split != "test" and not good.all():
        raise BadInput(f"{file}: row {int(np.argmin(good))} has no label", "only a test split may be without labels")
    part.inventory.see(len(good))
    if not good.all():
        part.inventory.leave_out(WITHOUT_LABEL, part.path, int((~good).sum()))
    ids = pa.array([f"{part.path}/{row:07d}" for row in np.flatnonzero(good)], pa.string())
    return LabelledRows(part, columns, rows.paths.filter(pa.array(good)), ids, numbers[good], texts, places[good])


def join_rows(root: Path, tables: Sequence[LabelledRows], names: Path | None) -> tuple[tuple[Label, ...], Entries]:
    """Make the classes and the entries of all files. Ids are the paths where these are unique, else file and row.

    Raises BadInput where files disagree about the classes, and where nothing names these; NoImages where no row that
    counts has a label.
    """
    labels, classes = _number_classes(root, tables, find_names_file(root, names))
    if not len(labels):
        raise NoImages(f"{root}: its tables hold no labelled rows")
    if labels.max() >= len(classes):
        raise BadInput(f"{root}: holds label {labels.max()}, but only {len(classes)} classes are named")
    paths = pa.concat_arrays([table.paths for table in tables])
    unique = not paths.null_count and pc.count_distinct(paths).as_py() == len(paths)
    ids = paths if unique else pa.concat_arrays([table.ids for table in tables])
    sizes = [len(table.labels) for table in tables]
    held = np.repeat([table.part.held for table in tables], sizes)
    counted = np.repeat([table.part.counted for table in tables], sizes)
    entries = Entries.from_columns(root, ids, labels, held, np.concatenate([table.places for table in tables]))
    if not counted.any():
        raise NoImages(f"{root}: its tables for validation hold no labelled rows")
    return adopt_wnids(root, classes, _find_wnids(paths, labels)), entries.select(counted)


def _number_classes(
    root: Path, tables: Sequence[LabelledRows], names: Path | None
) -> tuple[np.ndarray, tuple[Label, ...]]:
    """Number the labels of all files, int32 [n], and make the classes. Texts are ids in their order."""
    first = tables[0]
    for table in tables:
        if table.columns.words != first.columns.words or table.columns.has_texts != first.columns.has_texts:
            raise BadInput(
                f"{root / table.part.path}: names other classes than {root / first.part.path}",
                "keep one data set in a folder",
            )
    if first.columns.has_texts:
        texts = sorted({text for table in tables for text in table.texts})
        classes, number = read_labels_by_text(texts, names)
        labels = [np.array([number[text] for text in table.texts], np.int32)[table.labels] for table in tables]
        return np.concatenate(labels), classes
    if not (first.columns.words or names):
        raise BadInput(f"{root}: no class names in the schema", "give the class names with --labels FILE")
    return np.concatenate([table.labels for table in tables]), read_labels_by_index(first.columns.words, names)


def _find_wnids(paths: pa.Array, labels: np.ndarray) -> dict[int, set[str]]:
    """Collect, for each label, the wnids at the end of its images' names (n01440764_10026_n01440764.JPEG)."""
    found: pa.Array = pc.struct_field(pc.extract_regex(paths, f".*(?P<wnid>{WNID.pattern})"), "wnid")
    pairs = pa.table({"label": labels, "wnid": found}).group_by(["label", "wnid"]).aggregate([])
    seen: dict[int, set[str]] = defaultdict(set)
    for label, wnid in zip(pairs["label"].to_pylist(), pairs["wnid"].to_pylist(), strict=True):
        seen[label].update([wnid] if wnid else [])
    return seen
