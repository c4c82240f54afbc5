"""Reads the boxes of a HEIF file, which is HEIC or AVIF: its items, their properties and where their bytes lie.

ISO/IEC 14496-12 has the boxes, 23008-12 the items. Only what decoding the primary image needs is read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tencrop.images.errors import ImageError, TruncatedImage, UnsupportedImage

MAX_BOXES = 5000  # in one box
MAX_ENTRIES = 20_000  # extents, references and properties of a file; a photograph of a telephone has some hundred
SINGLE = (b"pitm", b"iinf", b"iloc", b"iprp", b"iref", b"idat")  # boxes of which a meta box has at most one
IN_FILE, IN_IDAT = 0, 1  # construction methods: where an item's offsets count from


class Box(NamedTuple):
    """A box: its kind, where it begins, and where its body begins and ends."""

    kind: bytes
    at: int
    start: int
    end: int


@dataclass
class Item:
    """An item: its kind, its properties, and where the pieces of its bytes begin and end in the file."""

    kind: bytes
    properties: list[Box] = field(default_factory=list)
    extents: list[tuple[int, int]] = field(default_factory=list)

    def find(self, kind: bytes) -> Box | None:
        """Its property of this kind. Raises ImageError where it has several."""
        found = [box for box in self.properties if box.kind == kind]
        if len(found) > 1:
            raise ImageError(f"a HEIF image with {len(found)} properties {kind.decode('latin1')}")
        return found[0] if found else None


class Reference(NamedTuple):
    """An item that refers to others: a grid to its tiles (dimg), an alpha plane to its image (auxl)."""

    kind: bytes
    at: int  # where the box begins
    source: int
    targets: tuple[int, ...]


class Cursor:
    """Reads integers one after the other. Raises TruncatedImage where the box ends."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.at, self.end = data, start, end

    def take(self, size: int) -> int:
        """The next integer, of `size` bytes."""
        if self.at + size > self.end:
            raise TruncatedImage("damaged image: it ends too early")
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at])


class Container:
    """The items of a file. Raises ImageError where it is damaged, UnsupportedImage where it has no still image."""

    def __init__(self, data: bytes) -> None:
        self.data, self._entries = data, 0
        self.top = read_boxes(data, 0, len(data), is_file=True)
        metas = [box for box in self.top if box.kind == b"meta"]
        if len(metas) != 1:
            raise UnsupportedImage("a HEIC or AVIF without a still image")
        children = read_boxes(data, metas[0].start + 4, metas[0].end)
        if any(sum(box.kind == kind for box in children) > 1 for kind in SINGLE):
            raise ImageError("damaged image: a HEIF file with two tables of the same kind")
        self._boxes = {box.kind: box for box in children}
        self.items = {number: Item(kind) for number, kind in self._read_kinds()}
        self._read_extents()
        self._read_properties()
        self.references = [*self._read_references()]
        version, cursor = self._open(b"pitm")
        self.primary = cursor.take(2 if version == 0 else 4)
        if self.primary not in self.items:
            raise ImageError("damaged image: a HEIF file without its primary image")

    def _repeat(self, count: int) -> range:
        """Count the entries of a table. Raises ImageError where all tables together have more than MAX_ENTRIES."""
        self._entries += count
        if self._entries > MAX_ENTRIES:
            raise ImageError(f"a HEIF file of more than {MAX_ENTRIES} entries")
        return range(count)

    def _open(self, kind: bytes) -> tuple[int, Cursor]:
        """The version and a cursor behind the version and the flags of a box of the meta box."""
        if kind not in self._boxes:
            raise ImageError(f"damaged image: a HEIF file without {kind.decode()}")
        box = self._boxes[kind]
        cursor = Cursor(self.data, box.start, box.end)
        return cursor.take(4) >> 24, cursor

    def _read_kinds(self) -> Iterator[tuple[int, bytes]]:
        version, cursor = self._open(b"iinf")
        cursor.take(2 if version == 0 else 4)
        seen = set()
        for box in read_boxes(self.data, cursor.at, cursor.end):
            entry = Cursor(self.data, box.start, box.end)
            number = entry.take(2 if entry.take(4) >> 24 < 3 else 4)
            if number in seen:
                raise ImageError("damaged image: a HEIF file with two items of the same number")
            seen.add(number)
            entry.take(2)
            yield number, entry.take(4).to_bytes(4)

    def _read_extents(self) -> None:
        version, cursor = self._open(b"iloc")
        sizes = cursor.take(2)
        of_offset, of_length, of_base, of_index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
        for _ in self._repeat(cursor.take(2 if version < 2 else 4)):
            number = cursor.take(2 if version < 2 else 4)
            method = cursor.take(2) & 15 if version else IN_FILE
            cursor.take(2)
            base = cursor.take(of_base)
            extents = []
            for _ in self._repeat(cursor.take(2)):
                cursor.take(of_index if version else 0)
                offset = base + cursor.take(of_offset)
                extents.append(self._locate(method, offset, cursor.take(of_length)))
            if number in self.items:
                if self.items[number].extents:
                    raise ImageError("damaged image: a HEIF file that has an item in two places")
                self.items[number].extents = extents

    def _locate(self, method: int, offset: int, length: int) -> tuple[int, int]:
        """The begin and the end of an extent in the file."""
        if method not in (IN_FILE, IN_IDAT) or (method == IN_IDAT and b"idat" not in self._boxes):
            raise UnsupportedImage("a HEIF file of this layout is not supported")
        first, last = self._boxes[b"idat"][2:] if method == IN_IDAT else (0, len(self.data))
        if not length or first + offset + length > last:
            raise TruncatedImage("damaged image: it ends too early")
        return first + offset, first + offset + length

    def _read_properties(self) -> None:
        box = self._boxes.get(b"iprp")
        children = read_boxes(self.data, box.start, box.end) if box else []
        if sum(child.kind == b"ipco" for child in children) != 1:
            raise ImageError("damaged image: a HEIF file without properties")
        properties = next(read_boxes(self.data, each.start, each.end) for each in children if each.kind == b"ipco")
        for child in children:
            if child.kind == b"ipma":
                self._associate(Cursor(self.data, child.start, child.end), properties)

    def _associate(self, cursor: Cursor, properties: list[Box]) -> None:
        head = cursor.take(4)
        size = 2 if head & 1 else 1
        for _ in self._repeat(cursor.take(4)):
            number = cursor.take(2 if head >> 24 == 0 else 4)
            for _ in self._repeat(cursor.take(1)):
                index = cursor.take(size) & ((1 << 8 * size - 1) - 1)
                if index > len(properties):
                    raise ImageError("damaged image: a HEIF file that names a missing property")
                if index and number in self.items:
                    self.items[number].properties.append(properties[index - 1])

    def _read_references(self) -> Iterator[Reference]:
        if b"iref" not in self._boxes:
            return
        version, cursor = self._open(b"iref")
        size = 2 if version == 0 else 4
        for box in read_boxes(self.data, cursor.at, cursor.end):
            entry = Cursor(self.data, box.start, box.end)
            source = entry.take(size)
            yield Reference(box.kind, box.at, source, tuple(entry.take(size) for _ in self._repeat(entry.take(2))))


def read_boxes(data: bytes, start: int, end: int, is_file: bool = False) -> list[Box]:
    """The boxes between two places. In a file, bytes behind its boxes are ignored, as decoders do.

    Raises TruncatedImage where a box ends too early, ImageError above MAX_BOXES.
    """
    boxes: list[Box] = []
    while start < end:
        if len(boxes) == MAX_BOXES:
            raise ImageError(f"a HEIF file of more than {MAX_BOXES} boxes")
        try:
            box = _read_box(data, start, end)
        except TruncatedImage:
            if is_file and any(box.kind == b"meta" for box in boxes):
                return boxes
            raise
        boxes.append(box)
        start = box.end
    return boxes


def _read_box(data: bytes, at: int, end: int) -> Box:
    head = 8
    try:
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
    except struct.error:
        raise TruncatedImage("damaged image: it ends too early") from None
    size = size or end - at
    if size < head or at + size > end:
        raise TruncatedImage("damaged image: it ends too early")
    return Box(kind, at, at + head, at + size)
