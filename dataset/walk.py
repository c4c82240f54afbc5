"""Walks a folder tree, visiting each folder once despite links, and no hidden folder or one of another program."""

import os
from collections.abc import Iterator
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.images.file_name import is_image

FOREIGN = frozenset(  # folders of file systems, disks and archives, in lower case
    [
        "lost+found",  # ext
        "$recycle.bin",  # Windows
        "recycler",
        "system volume information",
        "__macosx",  # in a zip of macOS
        "network trash folder",
        "temporary items",
        "@eadir",  # Synology: thumbnails
        "#recycle",
        "#snapshot",
        "@recycle",  # QNAP
        "@recently-snapshot",
        "~snapshot",  # NetApp
    ]
)


def walk(top: Path, inventory: Inventory) -> Iterator[tuple[Path, list[str]]]:
    """Yield (folder, names of its files); follow links to folders. The files count as seen.

    Folders that are not visited are passed over. Raises BadInput where a folder cannot be listed, and for a link whose
    target may have been a folder and is missing.
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
        for name in files:
            check_link(place, name)
        inventory.see(len(files))
        folders[:] = sorted(name for name in folders if is_shown(name))
        yield Path(place), files


def list_subfolders(folder: Path) -> list[str]:
    """List the names of the folders in a folder, sorted, without hidden and system folders."""
    return sorted(p.name for p in folder.iterdir() if is_shown(p.name) and p.is_dir())


def holds_images(folder: Path) -> bool:
    """Return whether an image lies in the folder itself."""
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) and not entry.is_dir() for entry in entries)


def is_shown(name: str) -> bool:
    """Return whether a folder of this name may hold images."""
    return not name.startswith(".") and name.lower() not in FOREIGN


def is_broken_link(path: Path) -> bool:
    """Return whether a path is a link whose target is missing, as of an annex or a disk that is not mounted."""
    return os.path.islink(path) and not os.path.exists(path)


def check_link(folder: Path | str, name: str) -> None:
    """Raise BadInput for a link whose target is missing, and which may be to a folder: its name has no suffix."""
    if "." in name:
        return
    path = Path(folder, name)
    if is_broken_link(path):
        raise BadInput(f"{path}: a link to {os.readlink(path)}, which is not there", "mount it, or remove the link")


def _refuse(error: OSError) -> None:
    raise BadInput(f"{error.filename}: cannot be listed ({error.strerror})")
