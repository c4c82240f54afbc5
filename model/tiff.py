"""TIFF: what its first directory asks of a decoder, read before Pillow and libtiff see it: 200 bytes can ask for gigabytes, or hours."""

import struct
from typing import NamedTuple

from model.errors import ImageError

KINDS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<"}  # the first four bytes -> the order of all others
MIXED = (b"MM\0+", b"MM*\0", b"II\0*")  # that Pillow reads as one kind and libtiff as another
BIG = b"II+\0"
INTEGERS = {3: "H", 4: "I", 16: "Q"}  # by the number of the type, as struct has them
RATIONALS = (5, 10)
JPEGS = ([6], [7])  # the compression
BYTES = (1, 2, 6, 7)  # texts, profiles, and other programs' own
WIDTH, HEIGHT, COMPRESSION, STRIPS, STRIP_BYTES, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 256, 257, 259, 273, 279, 322, 323, 324, 325

MAX_TAGS = 10_000
MAX_NUMBERS = 300_000  # of one tag; Pillow makes an object of each
MAX_RATIONALS = 1000  # and three of each of these
MAX_PARTS = 100_000  # strips or tiles
MORE_SCANS = 64  # of a JPEG in it than one each
BEYOND = 4_000_000  # pixels of tiles that lie outside of the image


class Tag(NamedTuple):
    """One entry of a directory; `value` holds its numbers, or where they lie."""

    kind: int
    many: int
    value: bytes


class Directory:
    """The first directory of a TIFF. Raises ImageError where one of its tags has more numbers than any needs."""

    def __init__(self, data: bytes) -> None:
        self.data, self.order = data, KINDS[data[:4]]
        first, many, entry = ("Q", "Q", "HHQ8s") if data[:4] == BIG else ("I", "H", "HHI4s")
        (start,) = struct.unpack_from(self.order + first, data, 8 if data[:4] == BIG else 4)
        (tags,) = struct.unpack_from(self.order + many, data, start)
        start += struct.calcsize(self.order + many)
        size = struct.calcsize(self.order + entry)
        self.tags: dict[int, Tag] = {}
        for at in range(start, min(start + tags * size, start + MAX_TAGS * size, len(data) - size + 1), size):
            number, kind, count, value = struct.unpack_from(self.order + entry, data, at)
            if kind not in BYTES and count > (MAX_RATIONALS if kind in RATIONALS else MAX_NUMBERS):
                raise ImageError("a TIFF with a tag of too many numbers")
            self.tags.setdefault(number, Tag(kind, count, value))

    def numbers(self, number: int) -> list[int]:
        """Of a tag of whole numbers; none where it is missing.

        Raises ImageError where it holds others, struct.error where it is cut off.
        """
        if number not in self.tags:
            return []
        kind, count, value = self.tags[number]
        if kind not in INTEGERS:
            raise ImageError(f"a TIFF whose tag {number} is of type {kind}")
        packed = f"{self.order}{count}{INTEGERS[kind]}"
        if struct.calcsize(packed) > len(value):
            (far,) = struct.unpack(self.order + ("Q" if len(value) == 8 else "I"), value)
            return [*struct.unpack_from(packed, self.data, far)]
        return [*struct.unpack_from(packed, value)]


def check_tiff(data: bytes) -> None:
    """Raises ImageError where the decoding of a TIFF would take far more than the pixels of its image do."""
    if data[:4] in MIXED:
        raise ImageError("a TIFF of mixed kinds")
    if data[:4] not in KINDS:
        return  # none
    try:
        directory = Directory(data)
        parts = max(directory.numbers(STRIPS), directory.numbers(TILES), key=len)
        if len(parts) > MAX_PARTS:
            raise ImageError(f"a TIFF of more than {MAX_PARTS} strips or tiles")
        compression = directory.numbers(COMPRESSION)
        if compression in ([], [1]):
            return
        if compression in JPEGS and data.count(b"\xff\xda") > len(parts) + MORE_SCANS:
            raise ImageError("a TIFF of JPEGs of many scans")
        sizes = directory.numbers(STRIP_BYTES) + directory.numbers(TILE_BYTES)
        if not sizes or sum(sizes) > 2 * len(data):
            raise ImageError("a TIFF whose bytes are read again and again")
        width, height, across, down = ((*directory.numbers(tag), 0)[0] for tag in (WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT))
        if across and down and -(-width // across) * across * -(-height // down) * down > 4 * width * height + BEYOND:
            raise ImageError("a TIFF whose tiles are far larger than its image")
    except struct.error:
        raise ImageError("damaged image (a TIFF that is cut off)") from None
