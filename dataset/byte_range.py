"""Reads a range of bytes from a file."""

import errno
import io
import os
from pathlib import Path


def read_at(file: Path, start: int, size: int) -> bytes:
    """Read `size` bytes from `start`. Each call opens the file anew, so threads and forks share nothing.

    Raises OSError where the file is missing or too short.
    """
    with file.open("rb", buffering=0) as opened:
        return read_range(opened, start, size, file)


def read_range(opened: io.FileIO, start: int, size: int, file: Path) -> bytes:
    """Read `size` bytes from `start` of an open file. Raises OSError, which names `file`, where it is too short."""
    data = os.pread(opened.fileno(), size, start)
    if len(data) != size:
        raise OSError(errno.EIO, "shorter than it was when it was listed", str(file))
    return data
