"""Indexes tar archives, nested ones included, so that each file is read by byte offset without unpacking."""

import os
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from pathlib import Path
from typing import Any, NamedTuple

from tencrop.common.errors import BadInput
from tencrop.common.lfs_pointer import refuse_lfs_pointer
from tencrop.dataset.account import Inventory, escape_name
from tencrop.dataset.source import Entries, Entry
from tencrop.dataset.tar_opener import TarOpener
from tencrop.dataset.walk import is_shown
from tencrop.images.errors import ImageMissing
from tencrop.images.limits import check_bytes
from tencrop.model.contract import Label

MAX_HEADER = 1 << 20  # bytes of a long name or of pax records, which tarfile reads whole
MAX_LINKS = 40  # from one to the next, as in Linux
MISSING = -1  # size of a link without a target


class Member(NamedTuple):
    """A file in a tar; `start` counts from the beginning of the outermost file."""

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
    opener: TarOpener = field(default_factory=TarOpener)

    def read(self, entry: Entry) -> bytes:
        """Read an image.

        Raises ImageTooLarge before a large one is read, ImageMissing for a link whose target is not in the tar, OSError
        where the tar is too short.
        """
        file, start, size = entry.place
        if size == MISSING:
            raise ImageMissing("a link to a file that is not in the tar")
        check_bytes(size)
        return self.opener.read(self.files[file], start, size)


def iter_members(
    file: Path, inventory: Inventory, inner: Member | None = None, opener: TarOpener | None = None
) -> Iterator[Member]:
    """Yield the visible files of a tar, or of the tar `inner` in it, in the archive's order, then its visible links.

    A link has the place of the file in the tar that it leads to, or the size MISSING. Other members are passed over,
    but for folders. Only headers are read. In a name that is not UTF-8, odd bytes become \\xNN. Raises BadInput where
    the tar is damaged or ends early; tarfile alone would take an unreadable header for the end.
    """
    where = f"{file}: {inner.name}" if inner else str(file)
    files: dict[str, Member] = {}
    links: dict[str, str] = {}  # name of the target of each
    try:
        with (opener or TarOpener()).open(file) as opened:
            size = os.fstat(opened.fileno()).st_size
            window = _Window(opened.fileno(), *((inner.start, inner.size) if inner else (0, size)))
            if window.start + window.size > size:
                raise tarfile.ReadError("unexpected end of data")
            for info in _iter_headers(window):
                name = _as_text(info.name)
                is_file, is_link = info.isreg() and not info.issparse(), info.issym() or info.islnk()
                if is_file:
                    files[name] = Member(name, window.start + info.offset_data, info.size)
                if is_link:
                    links[name] = _find_target(info)
                hidden = _find_hidden(name)
                if hidden or not (is_file or is_link):
                    inventory.pass_over(hidden or name)
                elif is_file:
                    yield files[name]
    except (tarfile.TarError, UnicodeError, ValueError, OverflowError) as error:
        refuse_lfs_pointer(file)
        raise BadInput(f"{where}: not a whole, uncompressed tar ({error})", "fetch it again") from None
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from None
    for name in links:
        if not _find_hidden(name):
            target = _follow(name, files, links)
            yield target._replace(name=name) if target else Member(name, 0, MISSING)


def _iter_headers(window: "_Window") -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar, but for folders. Raises TarError where it is damaged or ends early."""
    with tarfile.open(fileobj=window, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # 50,000 headers are 100 MB
            if not info.isdir():
                yield info
        window.seek(tar.offset)
        if window.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("unexpected end of data")


def _as_text(name: str) -> str:
    """The name of a member as text, without ./ before it."""
    return escape_name(name).removeprefix("./")


def _find_hidden(name: str) -> str:
    """Find the part of a name that hides a member: its own name, or a folder of another program; empty without one."""
    *folders, base = name.split("/")
    hidden = (f"{folder}/" for folder in folders if folder not in (".", "..") and not is_shown(folder))
    return next(hidden, base if base.startswith(".") else "")


def _find_target(link: tarfile.TarInfo) -> str:
    """Find the name of a link's target. The path in a symbolic link starts in the folder of the link."""
    target = _as_text(link.linkname)
    if link.issym():
        target = posixpath.normpath(posixpath.join(posixpath.dirname(_as_text(link.name)), target))
    return target


def _follow(name: str, files: Mapping[str, Member], links: Mapping[str, str]) -> Member | None:
    """Follow a link to its file, over at most MAX_LINKS links. None where no file is there."""
    for _ in range(MAX_LINKS):
        name = links.get(name, name)
    return files.get(name)


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
