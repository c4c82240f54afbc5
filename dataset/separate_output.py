"""Keeps what a command writes out of the data set that it reads, where its files would become images or classes."""

import os
from collections.abc import Iterator
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.walk import list_subfolders


def check_separate(data: Path, out: Path) -> None:
    """Check that neither folder lies in the other, and `out` in no folder that a link of the data set leads to.

    Call before anything is written. Links are followed in the data set's folder and in the folders there. Raises
    BadInput.
    """
    written, read = Path(os.path.realpath(out)), Path(os.path.realpath(data))
    if any(written.is_relative_to(place) for place in (read, *_iter_linked_folders(read))):
        raise BadInput(
            f"{out}: lies in the data set {data}, and would become a part of it", "choose a folder elsewhere"
        )
    if read.is_relative_to(written):
        raise BadInput(f"{out}: holds the data set {data}", "choose a folder of its own")


def _iter_linked_folders(data: Path) -> Iterator[Path]:
    for place in (data, *(data / name for name in list_subfolders(data))):
        with os.scandir(place) as entries:
            yield from (Path(entry.path).resolve() for entry in entries if entry.is_symlink() and entry.is_dir())
