"""Walk: a folder and all below it, each once however it is linked there; hidden ones and a file system's own are left out."""

import os
from collections.abc import Iterator
from pathlib import Path

from tencrop.common.errors import BadInput

OWN = "lost+found"  # of ext file systems, at their root


def walk(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """(folder, the names of its files), links to folders followed. Raises BadInput where one cannot be listed."""
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
    """Whether a folder of this name may hold images."""
    return not name.startswith(".") and name != OWN


def _refuse(error: OSError) -> None:
    raise BadInput(f"{error.filename}: cannot be listed ({error.strerror})")
