"""Parquet layout of the Hugging Face hub: a column of encoded images, or of their paths, and a column of labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tencrop.common.errors import BadInput, one_line
from tencrop.common.lfs_pointer import refuse_lfs_pointer
from tencrop.dataset.account import Inventory
from tencrop.dataset.hub_configs import choose_files
from tencrop.dataset.hub_rows import LabelledRows, Part, choose_parts, join_rows, select_labelled
from tencrop.dataset.hub_schema import choose_columns
from tencrop.dataset.named_file import check_images, read_named_file
from tencrop.dataset.parquet_listing import count_without_bytes, read_listing
from tencrop.dataset.parquet_rows import ImageFile, RowGroups
from tencrop.dataset.source import Entries, Entry, ProgressCallback
from tencrop.dataset.source_options import SourceOptions
from tencrop.model.contract import Label


@dataclass(frozen=True)
class Parquet:
    """Images in rows; an entry's place is (index of the file, row group, row in the group)."""

    root: Path
    labels: tuple[Label, ...]
    entries: Entries
    rows: RowGroups
    image_root: Path | None
    inventory: Inventory

    def read(self, entry: Entry) -> bytes:
        """Read the bytes of the image, or where these are null the file that the row names below the image root.

        Raises OSError where the parquet file is missing or damaged, ImageMissing where there is no such file.
        """
        data, path = self.rows.read(*entry.place)
        return read_named_file(self.image_root, path) if data is None else data


def find_parquet_files(root: Path, folders: list[Path], image_folders: list[Path]) -> list[str]:
    """List the paths below `root` of the parquet files in it and in `folders`.

    Beside folders that hold images they count only where one lies at the top or in data/: a report among class folders
    holds one, too. Raises BadInput where two or more of these folders are beside such a file: they may be the classes.
    """
    found = [path for place in (root, *folders) for path in place.glob("[!.]*.parquet") if not path.is_dir()]
    at_top = [path for path in found if path.parent in (root, root / "data")]
    if at_top and len(image_folders) > 1:
        first, images = min(at_top).relative_to(root), image_folders[0].relative_to(root)
        raise BadInput(
            f"{root}: holds {first}, and images in {images} and other folders",
            "keep one data set in a folder; for parquet files that name these images add --image-root DIR",
        )
    return sorted(path.relative_to(root).as_posix() for path in found) if at_top or not image_folders else []


def open_parquet(
    root: Path, found: list[str], options: SourceOptions, progress: ProgressCallback, training: bool = True
) -> Parquet:
    """List the rows of the files `found` below `root`. Ids are the images' paths where unique, else file and row.

    Without `training` the rows of the training files are left out where there are other files. Raises BadInput where a
    file is damaged, lacks the columns or has rows without an image, and where nothing names the classes; NoImages where
    no row has a label.
    """
    inventory = Inventory()
    splits = choose_files(root, found, options.config, inventory)
    parts = choose_parts(splits, training, inventory)
    listed: list[tuple[LabelledRows, ImageFile]] = []
    for place, part in enumerate(parts):
        listed.append(_list_rows(root / part.path, part, place, options))
        progress(sum(len(rows.labels) for rows, _ in listed))
    labels, entries = join_rows(root, [rows for rows, _ in listed], options.names)
    return Parquet(root, labels, entries, RowGroups(tuple(file for _, file in listed)), options.image_root, inventory)


def _list_rows(file: Path, part: Part, place: int, options: SourceOptions) -> tuple[LabelledRows, ImageFile]:
    """List labels and paths of one file, without the image bytes."""
    without_bytes = 0
    try:
        with pq.ParquetFile(file) as opened:
            columns = choose_columns(file, opened.schema_arrow, options)
            images = ImageFile(file, columns.image if options.image_root else columns.image._replace(path=None))
            sizes = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
            rows = read_listing(opened, file, columns)
            if part.counted:
                without_bytes = count_without_bytes(opened, images)
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        refuse_lfs_pointer(file)
        raise BadInput(
            f"{file}: not parquet with labelled images, or damaged ({one_line(error)})",
            "move it away if it does not belong to the data set",
        ) from None
    numbers = np.concatenate([np.arange(size) for size in sizes] or [np.zeros(0, np.int64)])
    places = np.stack([np.full(len(numbers), place), np.repeat(np.arange(len(sizes)), sizes), numbers], 1)
    labelled = select_labelled(file, part, columns, rows, places)
    if without_bytes:
        check_images(file, without_bytes, labelled.paths, options.image_root)
    return labelled, images
