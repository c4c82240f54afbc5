"""The images that the arguments of `tencrop predict` name: files, folders, glob patterns and stdin."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.dataset.walk import walk
from tencrop.images.file_name import is_image

STDIN = "-"


def list_images(argument: str) -> list[str]:
    """List the paths of the images that an argument names, in order.

    A folder stands for the images in it and below it. A pattern such as photos/*.jpg, which some shells leave to the
    program, stands for the files that it matches; `**` matches folders. Raises BadInput where there is no image.
    """
    if os.path.isdir(argument):
        return _list_folder(argument)
    if argument == STDIN or os.path.lexists(argument) or not glob.has_magic(argument):
        return [argument]
    found = sorted(path for path in glob.iglob(argument, recursive=True) if not os.path.isdir(path))
    if not found:
        raise BadInput(f"{argument}: no file matches")
    return found


def open_image(path: str, stdin: BinaryIO) -> str | BinaryIO:
    """Turn a path of `list_images` into what `Classifier.predict_each` takes."""
    return stdin if path == STDIN else path


def _list_folder(folder: str) -> list[str]:
    found = list(_walk_images(folder))
    if not found:
        raise BadInput(f"{folder}: holds no images")
    return found


def _walk_images(folder: str) -> Iterator[str]:
    for place, names in walk(Path(folder), Inventory()):
        yield from (str(place / name) for name in sorted(names) if is_image(name))
