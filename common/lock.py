"""Locks on folders and files: one process at a time uses them, where the system has flock. Windows has none."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from tencrop.common.errors import BadInput

with suppress(ImportError):  # Windows
    import fcntl

LOCK = "lock"  # name of the file in a folder that is locked


def lock_folder(folder: Path) -> IO[str]:
    """Create a folder where it is missing, and lock it until the returned file is closed or this process ends.

    Raises BadInput where another process holds the lock, or where the folder cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return lock_file(folder / LOCK)
    except BlockingIOError:
        raise BadInput(f"{folder}: another process uses this folder", "wait for it, or choose another folder") from None
    except OSError as error:
        raise BadInput(f"{folder}: cannot be used ({error.strerror})", "choose another folder") from None


def lock_file(file: Path) -> IO[str]:
    """Open a file, created where it is missing, and lock it. The kernel unlocks the file when this process ends.

    On Windows the file is opened and not locked. Raises BlockingIOError where another process holds the lock, another
    OSError where the file cannot be locked.
    """
    opened = file.open("a")  # NFS locks no file that is open for reading only
    if sys.platform == "win32":
        return opened
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        opened.close()
        raise
    return opened


class FileLock:
    """A file that processes lock in turn, each for a `with` block. The kernel unlocks it for a process that ends.

    Each process, and each thread of it, needs a FileLock of its own, which keeps the file open. Not for Windows.
    """

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
