"""Layout of `save_to_disk` of Hugging Face's `datasets`: state.json names Arrow files, whose rows are read in place.

A Dataset is one such folder. A DatasetDict has a folder for each split, which its dataset_dict.json names.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.account import Inventory
from tencrop.dataset.arrow_stream import list_stream
from tencrop.dataset.byte_range import read_at
from tencrop.dataset.hub_configs import choose_files
from tencrop.dataset.hub_rows import LabelledRows, Part, choose_parts, join_rows, select_labelled
from tencrop.dataset.named_file import check_images, read_named_file
from tencrop.dataset.source import Entries, Entry, ProgressCallback
from tencrop.dataset.source_options import SourceOptions
from tencrop.dataset.walk import list_subfolders
from tencrop.images.errors import ImageMissing
from tencrop.images.limits import check_bytes
from tencrop.model.contract import Label

STATE, INFO, DICT = "state.json", "dataset_info.json", "dataset_dict.json"
MAX_JSON = 16 << 20  # bytes


@dataclass(frozen=True)
class SavedDataset:
    """Images in Arrow files; an entry's place is (index of the file, start, size, whether a path lies there)."""

    root: Path
    labels: tuple[Label, ...]
    entries: Entries
    files: tuple[Path, ...]
    image_root: Path | None
    inventory: Inventory

    def read(self, entry: Entry) -> bytes:
        """Read the bytes of the image, or where these are null the file that the row names below the image root.

        Raises ImageTooLarge before a large image is read, ImageMissing where there is no such file, OSError where the
        Arrow file is missing or too short.
        """
        file, start, size, is_path = entry.place
        if size < 0:
            raise ImageMissing("a row without bytes")
        check_bytes(size)
        data = read_at(self.files[file], start, size)
        return read_named_file(self.image_root, data.decode(errors="replace")) if is_path else data


def find_saved(root: Path, beside_images: bool) -> list[Path]:
    """Find the saved folders: `root`, or the folders of its splits, or those of the configurations in it.

    Beside folders that hold images only the first two count. Raises BadInput where dataset_dict.json is damaged, or
    names a split that is not there.
    """
    tables = _find_tables(root)
    if tables or beside_images:
        return tables
    return [table for name in list_subfolders(root) for table in _find_tables(root / name)]


def _find_tables(folder: Path) -> list[Path]:
    if not (folder / DICT).is_file():
        return [folder] if all((folder / name).is_file() for name in (STATE, INFO)) else []
    splits = _read_json(folder / DICT).get("splits")
    if not isinstance(splits, list) or not all(_is_name(split) for split in splits):
        raise BadInput(f"{folder / DICT}: names no splits", "save the data set again")
    missing = next((split for split in splits if not (folder / split / STATE).is_file()), None)
    if missing:
        raise BadInput(f"{folder / DICT}: names the split {missing!r}, but {missing}/{STATE} is not there")
    return [folder / split for split in splits]


def open_saved(
    root: Path, tables: list[Path], options: SourceOptions, progress: ProgressCallback, training: bool = True
) -> SavedDataset:
    """List the rows of the Arrow files in the saved folders. Ids are the images' paths where unique, else file and row.

    Without `training` the rows of the training split are left out where there is another. Raises BadInput as
    `open_parquet` does; NoImages where no row has a label.
    """
    inventory = Inventory()
    for folder in dict.fromkeys([root, *(table.parent for table in tables if table != root)]):
        for name in list_subfolders(folder):
            if not any(table.is_relative_to(folder / name) for table in tables):
                inventory.note_unread(f"{name}/")
    found = [path.relative_to(root).as_posix() for table in tables for path in _list_files(table, inventory)]
    parts = choose_parts(choose_files(root, found, options.config, inventory), training, inventory)
    listed: list[LabelledRows] = []
    for place, part in enumerate(parts):
        listed.append(_list_rows(root / part.path, part, place, options))
        progress(sum(len(rows.labels) for rows in listed))
    labels, entries = join_rows(root, listed, options.names)
    files = tuple(root / part.path for part in parts)
    return SavedDataset(root, labels, entries, files, options.image_root, inventory)


def _list_files(folder: Path, inventory: Inventory) -> list[Path]:
    """List the Arrow files that state.json names; others, such as caches of `map`, are passed over."""
    state = _read_json(folder / STATE)
    if state.get("_indices_data_files"):
        raise BadInput(
            f"{folder / STATE}: selects rows by an index, as version 1 of datasets did",
            "load it and save it with a newer version",
        )
    stored = state.get("_data_files")
    entries = stored if isinstance(stored, list) else []
    names = [str(entry.get("filename")) for entry in entries if isinstance(entry, dict)]
    if not names or not all(map(_is_name, names)):
        raise BadInput(f"{folder / STATE}: names no Arrow files", "save the data set again")
    missing = next((name for name in names if not (folder / name).is_file()), None)
    if missing:
        raise BadInput(f"{folder / STATE}: names {missing}, which is not there", "copy it again")
    for path in sorted(folder.glob("*.arrow")):
        if path.name not in names:
            inventory.pass_over(path.name)
    return [folder / name for name in names]


def _list_rows(file: Path, part: Part, place: int, options: SourceOptions) -> LabelledRows:
    columns, rows, places = list_stream(file, options)
    labelled = select_labelled(file, part, columns, rows, np.insert(places, 0, place, 1))
    without_bytes = int(((labelled.places[:, 2] < 0) | (labelled.places[:, 3] > 0)).sum())
    if part.counted and without_bytes:
        check_images(file, without_bytes, labelled.paths, options.image_root)
    return labelled


def _is_name(value: Any) -> bool:
    """Return whether a value is the name of a file or folder in the same folder."""
    return isinstance(value, str) and value not in ("", ".", "..") and "\0" not in value and Path(value).name == value


def _read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object. Raises BadInput."""
    try:
        if file.stat().st_size > MAX_JSON:
            raise ValueError(f"more than {MAX_JSON} bytes")
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{file}: is not JSON of datasets ({one_line(error)})") from None
    if not isinstance(document, dict):
        raise BadInput(f"{file}: is not JSON of datasets (no object)")
    return document
