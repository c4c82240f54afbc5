"""Reads an image file that a row names, below a folder that the user gave; a row's path may be anybody's text."""

import os
from pathlib import Path

import pyarrow as pa

from tencrop.common.errors import BadInput
from tencrop.images.errors import ImageMissing
from tencrop.images.limits import read_image_file

BLOCK = 10_000  # paths that are Python objects at the same time


def find_named_file(folder: Path, name: str) -> Path | None:
    """Find a file by its path relative to the folder, or by an absolute path below it; None where there is none.

    The path is never followed out of the folder by `..`; links in the folder are.
    """
    for top in dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder))):
        path = os.path.normpath(os.path.join(top, name))
        if path.startswith(top.rstrip("/") + "/") and os.path.isfile(path):
            return Path(path)
    return None


def read_named_file(folder: Path | None, name: str | None) -> bytes:
    """Read the image file of a row without bytes.

    Raises ImageMissing where there is no such file below the folder, ImageTooLarge before a large one is read.
    """
    path = find_named_file(folder, name) if folder and name else None
    if not path:
        raise ImageMissing(f"no file {name!r} below {folder}" if folder and name else "a row without bytes")
    return read_image_file(path)


def check_images(file: Path, count: int, names: pa.Array, folder: Path | None) -> None:
    """Check that the images of a table's `count` rows without bytes can be found by their paths, `names`.

    Raises BadInput without a folder, and where the folder holds none of the files: then another one is meant.
    """
    if folder is None:
        raise BadInput(
            f"{file}: {count} of its images have no bytes, at most a path",
            'embed them with `ds.with_format("arrow").map(embed_table_storage, batched=True)` (of datasets.table) '
            "and write it again, or give the folder of their files with --image-root DIR",
        )
    blocks = (names[start : start + BLOCK].to_pylist() for start in range(0, len(names), BLOCK))
    if not any(name and find_named_file(folder, name) for block in blocks for name in block):
        first = next(iter(names.drop_null()[:1].to_pylist()), None)
        if first is None:
            raise BadInput(f"{file}: {count} of its images have neither bytes nor a path", "write the file again")
        raise BadInput(
            f"{folder}: holds none of the {count} images that {file} names, such as {first!r}",
            "give the folder that their paths start from with --image-root DIR",
        )
