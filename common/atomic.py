"""Atomic writes: after a crash at any moment, a file or a folder is there whole or not at all.

Every writer here writes under another name, syncs the bytes to the disk, renames, and syncs the folder of the new name.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tencrop.common.errors import BadInput

PARTIAL = ".partial"  # the suffix, or the whole name, of a file or folder that is being written
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)  # from network file systems that sync no folders


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield the path to write to. The file replaces `path` when the block ends, and is removed when the block fails."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        _sync_file(partial)
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a whole file, text as UTF-8."""
    with atomic_path(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill. It becomes `folder` when the block ends, and is removed when the block fails.

    Missing parents are created. Raises OSError where `folder` exists and is not empty.
    """
    partial = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        _sync_tree(partial)
        partial.rename(folder)
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill. When the block ends, its entries move into `folder` and replace old ones.

    `folder` is created where it is missing; its other entries stay. The entries move one by one. When the block fails,
    nothing moves.
    Raises BadInput, and moves nothing, where a file would replace a folder or a folder a file.
    """
    partial, existed = folder / PARTIAL, folder.exists()
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        _sync_tree(partial)
        entries = sorted(partial.iterdir())
        for path in entries:
            _check_replaceable(path, folder / path.name)
        for path in entries:
            _move(path, folder / path.name)
        _sync_folder(folder)
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not existed:
            with suppress(OSError):  # not empty: the block succeeded
                folder.rmdir()


def _check_replaceable(path: Path, target: Path) -> None:
    if target.exists() and target.is_dir() != path.is_dir():
        kind = "folder" if target.is_dir() else "file"
        raise BadInput(f"{target}: a {kind} of this name stands in the way", "remove it or choose another place")


def _move(path: Path, target: Path) -> None:
    """Rename `path` to `target`. No rename replaces a folder that holds files, so an old one moves away first."""
    if target.is_dir():
        target.rename(path.with_name(path.name + ".old"))
    path.replace(target)


def _sync_tree(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            _sync_folder(path)
        else:
            _sync_file(path)


def _sync_file(path: Path) -> None:
    with path.open("r+b") as file:  # Windows syncs no file that is open for reading only
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Sync the names in a folder, where the platform can."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folder
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(opened)
