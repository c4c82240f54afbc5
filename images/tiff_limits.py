"""TIFF: what its first directory asks of a decoder, read before Pillow and libtiff see it: 200 bytes can ask for gigabytes, or hours."""

import struct
from typing import NamedTuple

from tencrop.images.errors import ImageError

KINDS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<"}  # the first four bytes -> the order of all others
UNREAD = (
    b"MM\0+",
    b"MM*\0",
    b"II\0*",
)  # big-endian BigTIFF, which Pillow takes for another kind, and two that libtiff refuses
BIG = b"II+\0"
INTEGERS = {3: "H", 4: "I", 16: "Q"}  # by the number of the type, as struct has them
RATIONALS = (5, 10)
BYTES = (1, 2, 7)  # texts, profiles, and other programs' own
WIDTH, HEIGHT, COMPRESSION, STRIPS, STRIP_HEIGHT, STRIP_BYTES, COLOURS = 256, 257, 259, 273, 278, 279, 320
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
ONCE = {
    WIDTH,
    HEIGHT,
    COMPRESSION,
    STRIPS,
    STRIP_HEIGHT,
    STRIP_BYTES,
    COLOURS,
    TILE_WIDTH,
    TILE_HEIGHT,
    TILES,
    TILE_BYTES,
}

MAX_TAGS = 4096  # as libtiff has it
MAX_NUMBERS = 300_000  # of one tag; Pillow makes an object of each
MAX_RATIONALS = 1000  # and three of each of these
MAX_SAMPLES = 6  # that each may have strips or tiles of its own, as Pillow has it
BEYOND = 1 << 24  # pixels of tiles that lie outside of the image


class Tag(NamedTuple):
    """One entry of a directory; `value` holds its numbers, or where they lie."""

    kind: int
    many: int
    value: bytes


class Directory:
    """The first directory of a TIFF.

    Raises ImageError where one of its tags has more numbers than any needs, or where two decoders may take different ones.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.order = data, KINDS[data[:4]]
        first, many, entry = ("Q", "Q", "HHQ8s") if data[:4] == BIG else ("I", "H", "HHI4s")
        (start,) = struct.unpack_from(self.order + first, data, 8 if data[:4] == BIG else 4)
        (tags,) = struct.unpack_from(self.order + many, data, start)
        if tags > MAX_TAGS:
            raise ImageError(f"a TIFF of more than {MAX_TAGS} tags")
        start += struct.calcsize(self.order + many)
        size = struct.calcsize(self.order + entry)
        self.tags: dict[int, Tag] = {}
        for at in range(start, min(start + tags * size, len(data) - size + 1), size):
            number, kind, count, value = struct.unpack_from(self.order + entry, data, at)
            if kind not in BYTES and count > (MAX_RATIONALS if kind in RATIONALS else MAX_NUMBERS):
                raise ImageError("a TIFF with a tag of too many numbers")
            if number in ONCE and number in self.tags:
                raise ImageError(f"a TIFF with two tags {number}")
            self.tags[number] = Tag(kind, count, value)

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
    if data[:4] in UNREAD:
        raise ImageError("a TIFF of a kind that is not read")
    if data[:4] not in KINDS:
        return  # none
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
    return next(iter(directory.numbers(tag)), default)
