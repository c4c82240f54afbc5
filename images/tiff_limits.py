"""Reads the first directory of a TIFF before Pillow and libtiff do: 200 bytes can ask them for gigabytes, or hours."""

import struct
from typing import NamedTuple

from tencrop.images.errors import ImageError

BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<"}  # by the first four bytes; "+" is BigTIFF
BIG = b"II+\0"
# Big-endian BigTIFF, which Pillow takes for another format, and two headers that libtiff refuses.
UNREADABLE = (b"MM\0+", b"MM*\0", b"II\0*")
INTEGERS = {3: "H", 4: "I", 16: "Q"}  # struct's letter, by the number of the type
RATIONALS = (5, 10)
BYTES = (1, 2, 7)  # types of texts, profiles, and other programs' data
WIDTH, HEIGHT, COMPRESSION, STRIPS, STRIP_HEIGHT, STRIP_BYTES, COLOURS = 256, 257, 259, 273, 278, 279, 320
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
ONCE = {WIDTH, HEIGHT, COMPRESSION, STRIPS, STRIP_HEIGHT, STRIP_BYTES, COLOURS}
ONCE |= {TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES}

MAX_TAGS = 4096  # libtiff's limit
MAX_NUMBERS = 300_000  # of one tag; Pillow makes an object of each
MAX_RATIONALS = 1000  # of one tag; Pillow makes three objects of each
MAX_SAMPLES = 6  # per pixel, each with strips or tiles of its own; Pillow's limit
BEYOND = 1 << 24  # pixels of tiles that may lie outside of the image


class Tag(NamedTuple):
    """One entry of a directory. `value` holds the numbers, or their offset where they do not fit."""

    kind: int
    length: int  # how many numbers
    value: bytes


class Directory:
    """The first directory of a TIFF.

    Raises ImageError where a tag has more numbers than any image needs, or where a tag stands twice: two decoders may
    read different ones.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.order = data, BYTE_ORDERS[data[:4]]
        offset, count, entry = ("Q", "Q", "HHQ8s") if data[:4] == BIG else ("I", "H", "HHI4s")
        (start,) = struct.unpack_from(self.order + offset, data, 8 if data[:4] == BIG else 4)
        (tags,) = struct.unpack_from(self.order + count, data, start)
        if tags > MAX_TAGS:
            raise ImageError(f"a TIFF of more than {MAX_TAGS} tags")
        start += struct.calcsize(self.order + count)
        size = struct.calcsize(self.order + entry)
        self.tags: dict[int, Tag] = {}
        for at in range(start, min(start + tags * size, len(data) - size + 1), size):
            number, kind, numbers, value = struct.unpack_from(self.order + entry, data, at)
            if kind not in BYTES and numbers > (MAX_RATIONALS if kind in RATIONALS else MAX_NUMBERS):
                raise ImageError("a TIFF with a tag of too many numbers")
            if number in ONCE and number in self.tags:
                raise ImageError(f"a TIFF with two tags {number}")
            self.tags[number] = Tag(kind, numbers, value)

    def numbers(self, number: int) -> list[int]:
        """The integers of a tag; empty where the tag is missing.

        Raises ImageError where the tag has another type, struct.error where the numbers are cut off.
        """
        if number not in self.tags:
            return []
        kind, length, value = self.tags[number]
        if kind not in INTEGERS:
            raise ImageError(f"a TIFF whose tag {number} is of type {kind}")
        packed = f"{self.order}{length}{INTEGERS[kind]}"
        if struct.calcsize(packed) > len(value):
            (far,) = struct.unpack(self.order + ("Q" if len(value) == 8 else "I"), value)
            return [*struct.unpack_from(packed, self.data, far)]
        return [*struct.unpack_from(packed, value)]


def check_tiff(data: bytes) -> None:
    """Raise ImageError where decoding a TIFF would cost far more than its pixels do."""
    if data[:4] in UNREADABLE:
        raise ImageError("a TIFF of a kind that is not read")
    if data[:4] not in BYTE_ORDERS:
        return  # not a TIFF
    try:
        directory = Directory(data)
        width, height = (_first(directory, tag, 0) for tag in (WIDTH, HEIGHT))
        across = _first(directory, TILE_WIDTH, width) or width
        down = _first(directory, TILE_HEIGHT, _first(directory, STRIP_HEIGHT, height)) or height
        directory.numbers(COLOURS)
        columns, rows = -(-width // max(across, 1)), -(-height // max(down, 1))
        if max(len(directory.numbers(STRIPS)), len(directory.numbers(TILES))) > MAX_SAMPLES * columns * rows:
            raise ImageError("a TIFF of more strips or tiles than its image has")
        if _first(directory, COMPRESSION, 1) == 1:
            return
        if sum(directory.numbers(STRIP_BYTES)) + sum(directory.numbers(TILE_BYTES)) > 2 * len(data):
            raise ImageError("a TIFF whose bytes are read again and again")
        if TILES in directory.tags and columns * across * rows * down > 2 * width * height + BEYOND:
            raise ImageError("a TIFF whose tiles are far larger than its image")
    except (struct.error, OverflowError):
        raise ImageError("damaged image (a TIFF that is cut off)") from None


def _first(directory: Directory, tag: int, default: int) -> int:
    """The first number of a tag; `default` where the tag is missing."""
    return next(iter(directory.numbers(tag)), default)
