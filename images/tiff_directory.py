"""Directory: the tags of a TIFF's first image, read before Pillow and libtiff read them."""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from tencrop.images.errors import ImageError

BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<"}  # by the first four bytes; "+" is BigTIFF
BIG = b"II+\0"
INTEGERS = {3: "H", 4: "I", 16: "Q"}  # struct's letter, by the number of the type
SMALL_INTEGERS = {1: "B", **INTEGERS}
RATIONALS = (5, 10)
BYTES = (1, 2, 7)  # types of texts, profiles, and other programs' data
WIDTH, HEIGHT, COMPRESSION, STRIPS, STRIP_HEIGHT, STRIP_BYTES, COLOURS = 256, 257, 259, 273, 278, 279, 320
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
ONCE = {WIDTH, HEIGHT, COMPRESSION, STRIPS, STRIP_HEIGHT, STRIP_BYTES, COLOURS}
ONCE |= {TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES}
ONCE |= {258, 262, 266, 277, 284, 317, 332, 338, 339, 530}  # the layout of the samples

MAX_TAGS = 4096  # libtiff's limit
MAX_NUMBERS = 300_000  # of one tag; Pillow makes an object of each
MAX_RATIONALS = 1000  # of one tag; Pillow makes three objects of each


class Tag(NamedTuple):
    """One entry of a directory. `value` holds the numbers, or their offset where they do not fit."""

    kind: int
    length: int  # how many numbers
    value: bytes


class Directory:
    """The first directory of a TIFF.

    Raises ImageError where a tag has more numbers than any image needs, or where a tag stands twice: two decoders may
    read different ones. Raises struct.error where the directory is cut off.
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
        for at in range(start, start + tags * size, size):
            number, kind, numbers, value = struct.unpack_from(self.order + entry, data, at)
            if kind not in BYTES and numbers > (MAX_RATIONALS if kind in RATIONALS else MAX_NUMBERS):
                raise ImageError("a TIFF with a tag of too many numbers")
            if number in ONCE and number in self.tags:
                raise ImageError(f"a TIFF with two tags {number}")
            self.tags[number] = Tag(kind, numbers, value)

    def length(self, number: int) -> int:
        """The number of values that a tag says it has; 0 where it is missing."""
        return self.tags[number].length if number in self.tags else 0

    def first(self, number: int, default: int, integers: Mapping[int, str] = INTEGERS) -> int:
        """The first integer of a tag; `default` where the tag is missing. Raises as `numbers` does."""
        return next(iter(self.numbers(number, integers, most=1)), default)

    def small_numbers(self, number: int) -> list[int]:
        """As `numbers`, of a tag that some programs write as bytes."""
        return self.numbers(number, SMALL_INTEGERS)

    def numbers(self, number: int, integers: Mapping[int, str] = INTEGERS, most: int = MAX_NUMBERS) -> list[int]:
        """The first `most` integers of a tag; empty where the tag is missing.

        Raises ImageError where the tag has another type, struct.error where the numbers are cut off.
        """
        if number not in self.tags:
            return []
        kind, length, value = self.tags[number]
        if kind not in integers:
            raise ImageError(f"a TIFF whose tag {number} is of type {kind}")
        size, data, start = length * struct.calcsize(self.order + integers[kind]), value, 0
        if size > len(value):
            data, (start,) = self.data, struct.unpack(self.order + ("Q" if len(value) == 8 else "I"), value)
        if start + size > len(data):
            raise struct.error("the numbers are cut off")
        return [*struct.unpack_from(f"{self.order}{min(length, most)}{integers[kind]}", data, start)]
