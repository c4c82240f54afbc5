"""Inspects the first directory of a TIFF before libtiff decodes it: 200 bytes can ask for gigabytes, or hours."""

import struct

from tencrop.images.errors import ImageError, UnsupportedImage
from tencrop.images.jpeg_segments import SOS, count
from tencrop.images.tiff_directory import (
    BYTE_ORDERS,
    COLOURS,
    COMPRESSION,
    HEIGHT,
    STRIP_BYTES,
    STRIP_HEIGHT,
    STRIPS,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    TILES,
    WIDTH,
    Directory,
)
from tencrop.images.tiff_layout import JPEG, NONE, OLD_JPEG, check_layout

BIG_ENDIAN_BIG = b"MM\0+"  # BigTIFF that Pillow takes for another format
UNREADABLE = (b"MM*\0", b"II\0*")  # headers that libtiff refuses

MAX_SAMPLES = 6  # per pixel, each with strips or tiles of its own; Pillow's limit
BEYOND = 1 << 24  # pixels of tiles that may lie outside of the image


def check_tiff(data: bytes, max_scans: int) -> None:
    """Raise ImageError where decoding a TIFF would cost far more than its pixels do.

    `max_scans` limits the scans of each strip or tile that is a JPEG. Raises UnsupportedImage for a layout that Pillow
    reads wrongly or not at all.
    """
    if data[:4] == BIG_ENDIAN_BIG:
        raise UnsupportedImage("a big-endian BigTIFF is not supported")
    if data[:4] in UNREADABLE:
        raise ImageError("a TIFF of a kind that is not read")
    if data[:4] not in BYTE_ORDERS:
        return  # not a TIFF
    try:
        directory = Directory(data)
        _check_blocks(directory)
        check_layout(directory)
        _check_scans(directory, max_scans)
    except (struct.error, OverflowError):
        raise ImageError("damaged image: the TIFF ends too early") from None


def _check_blocks(directory: Directory) -> None:
    """Check the number, the bytes and the size of the strips or tiles."""
    numbers, first = directory.numbers, directory.first
    width, height = first(WIDTH, 0), first(HEIGHT, 0)
    across = first(TILE_WIDTH, width) or width
    down = first(TILE_HEIGHT, first(STRIP_HEIGHT, height)) or height
    numbers(COLOURS)
    columns, rows = -(-width // max(across, 1)), -(-height // max(down, 1))
    if max(len(numbers(STRIPS)), len(numbers(TILES))) > MAX_SAMPLES * columns * rows:
        raise ImageError("a TIFF of more strips or tiles than its image has")
    if first(COMPRESSION, NONE) == NONE:
        return
    if sum(numbers(STRIP_BYTES)) + sum(numbers(TILE_BYTES)) > 2 * len(directory.data):
        raise ImageError("a TIFF whose bytes are read again and again")
    if TILES in directory.tags and columns * across * rows * down > 2 * width * height + BEYOND:
        raise ImageError("a TIFF whose tiles are far larger than its image")


def _check_scans(directory: Directory, most: int) -> None:
    """Count the scans of the JPEG in each strip or tile. The decoder goes over the block's pixels for each of them."""
    compression, data = directory.first(COMPRESSION, NONE), directory.data
    if compression not in (JPEG, OLD_JPEG) or count(data, SOS) <= most:
        return
    starts = directory.numbers(STRIPS) + directory.numbers(TILES)
    sizes = directory.numbers(STRIP_BYTES) + directory.numbers(TILE_BYTES)
    if compression == OLD_JPEG or len(starts) != len(sizes):
        starts, sizes = [0], [len(data)]
    if any(data.count(SOS, start, start + size) > most for start, size in zip(starts, sizes, strict=True)):
        raise ImageError(f"a TIFF with a JPEG of more than {most} scans")
