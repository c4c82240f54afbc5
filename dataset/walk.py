"""Walks a folder tree, visiting each folder once despite links and skipping hidden and system folders."""

import os
from collections.abc import Iterator
from pathlib import Path

from tencrop.common.errors import BadInput

SYSTEM = "lost+found"  # at the root of ext file systems


def walk(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield (folder, names of its files); follow links to folders. Raises BadInput where a folder cannot be listed."""
    seen = set[tuple[int, int]]()
    for place, folders, files in os.walk(top, followlinks=True, onerror=_refuse):
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if is_shown(name))
        yield Path(place), files


def is_shown(name: str) -> bool:
    """Return whether a folder of this name may hold images."""
    return not name.startswith(".") and name != SYSTEM


def _refuse(error: OSError) -> None:
    raise BadInput(f"{error.filename}: cannot be listed ({error.strerror})")
