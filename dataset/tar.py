"""Tar archives read in place: where each file lies in one, tars inside it included, and its bytes by offset."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from pathlib import Path
from typing import Any, NamedTuple

from tencrop.common.errors import BadInput
from tencrop.dataset.byte_range import read_at
from tencrop.dataset.source import Entries, Entry
from tencrop.model.contract import Label


class Member(NamedTuple):
    """A regular file in a tar: its bytes are those of the outermost file from `start`."""

    name: str
    start: int
    size: int


@dataclass(frozen=True)
class Tars:
    """Images inside tars; an entry's place is (index of the tar, start, size)."""

    root: Path
    labels: tuple[Label, ...]
    entries: Entries
    files: tuple[Path, ...]

    def read(self, entry: Entry) -> bytes:
        """Raises OSError where the tar is gone or shorter than it was."""
        file, start, size = entry.place
        return read_at(self.files[file], start, size)


def members(file: Path, inner: Member | None = None) -> Iterator[Member]:
    """Every regular, visible file of an uncompressed tar, or of a tar that lies in it, in the order of the archive.

    Only headers are read. A name that is not UTF-8 has its bytes written as \\xNN. Raises BadInput where the tar is damaged or
    ends early: tarfile alone would take a header that cannot be read for the end.
    """
    where = f"{file}: {inner.name}" if inner else str(file)
    try:
        with file.open("rb", buffering=0) as opened:
            size = os.fstat(opened.fileno()).st_size
            window = _Window(opened.fileno(), *((inner.start, inner.size) if inner else (0, size)))
            if window.start + window.size > size:
                raise tarfile.ReadError("unexpected end of data")
            with tarfile.open(fileobj=window, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
                while (info := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # 50,000 headers are 100 MB
                    name = (
                        info.name.encode(errors="surrogateescape").decode(errors="backslashreplace").removeprefix("./")
                    )
                    if info.isreg() and not info.issparse() and not name.rpartition("/")[2].startswith("."):
                        yield Member(name, window.start + info.offset_data, info.size)
                window.seek(tar.offset)
                if window.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, UnicodeError, ValueError, OverflowError) as error:
        raise BadInput(f"{where}: not a whole, uncompressed tar ({error}); fetch it again") from None
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from None


class _Window(RawIOBase):
    """`size` bytes of an open file from `start`, as a file."""

    def __init__(self, number: int, start: int, size: int) -> None:
        self.number, self.start, self.size, self.position = number, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self.position = offset + {SEEK_SET: 0, SEEK_CUR: self.position, SEEK_END: self.size}[whence]
        return self.position

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self.size - self.position))
        data = os.pread(self.number, wanted, self.start + self.position)
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)
