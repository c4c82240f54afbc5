"""Indexes tar archives, nested ones included, so that each file is read by byte offset without unpacking."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from pathlib import Path
from typing import Any, NamedTuple

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.dataset.byte_range import read_at
from tencrop.dataset.source import Entries, Entry
from tencrop.images.limits import check_bytes
from tencrop.model.contract import Label

MAX_HEADER = 1 << 20  # bytes of a long name or of pax records, which tarfile reads whole


class Member(NamedTuple):
    """A regular file in a tar; `start` counts from the beginning of the outermost file."""

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
    inventory: Inventory

    def read(self, entry: Entry) -> bytes:
        """Read an image. Raises ImageTooLarge before a large one is read, OSError where the tar is too short."""
        file, start, size = entry.place
        check_bytes(size)
        return read_at(self.files[file], start, size)


def iter_members(file: Path, inventory: Inventory, inner: Member | None = None) -> Iterator[Member]:
    """Yield the regular, visible files of an uncompressed tar, or of the tar `inner` in it, in the archive's order.

    Others are passed over, but for folders. Only headers are read. In a name that is not UTF-8, odd bytes become \\xNN.
    Raises BadInput where the tar is damaged or ends early; tarfile alone would take an unreadable header for the end.
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
                    if not info.isreg() or info.issparse() or name.rpartition("/")[2].startswith("."):
                        if not info.isdir():
                            inventory.pass_over(name)
                    else:
                        yield Member(name, window.start + info.offset_data, info.size)
                window.seek(tar.offset)
                if window.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, UnicodeError, ValueError, OverflowError) as error:
        raise BadInput(f"{where}: not a whole, uncompressed tar ({error})", "fetch it again") from None
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from None


class _Window(RawIOBase):
    """A file-like view of `size` bytes of an open file from `start`."""

    def __init__(self, number: int, start: int, size: int) -> None:
        self.number, self.start, self.size, self.position = number, start, size, 0

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes. Raises tarfile.ReadError for a header that no program writes."""
        if size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size) or b""

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
