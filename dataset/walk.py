"""Walks a folder tree, visiting each folder once despite links and skipping hidden and system folders."""

import os
from collections.abc import Iterator
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory

SYSTEM = "lost+found"  # at the root of ext file systems


def walk(top: Path, inventory: Inventory) -> Iterator[tuple[Path, list[str]]]:
    """Yield (folder, names of its files); follow links to folders. The files count as seen.

    Folders that are not visited are passed over. Raises BadInput where a folder cannot be listed.
    """
    seen = set[tuple[int, int]]()
    for place, folders, files in os.walk(top, followlinks=True, onerror=_refuse):
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        for name in folders:
            if not is_shown(name):
                inventory.pass_over(f"{name}/")
        inventory.see(len(files))
        folders[:] = sorted(name for name in folders if is_shown(name))
        yield Path(place), files


def is_shown(name: str) -> bool:
    """Return whether a folder of this name may hold images."""
    return not name.startswith(".") and name != SYSTEM


def is_broken_link(path: Path) -> bool:
    """Return whether a path is a link whose target is missing, as of an annex or a disk that is not mounted."""
    return path.is_symlink() and not path.exists()


def _refuse(error: OSError) -> None:
    raise BadInput(f"{error.filename}: cannot be listed ({error.strerror})")
