"""Estimates from the header what decoding an image costs, so that cheap images need not wait for expensive ones.

The unit is one megapixel of a photograph as a baseline JPEG, which takes some 14 ms. Each factor is the time of another
kind of image, with the slowest content, in this unit. Frames behind the first one are never decoded.
"""

import struct
from collections.abc import Callable
from functools import partial

from tencrop.images.errors import ImageError
from tencrop.images.jpeg_end import FILLS
from tencrop.images.jpeg_segments import (
    ARITHMETIC,
    ARITHMETIC_PROGRESSIVE,
    EOI,
    PROGRESSIVE,
    SCAN,
    SOI,
    SOS,
    count,
    read_frame,
    read_segments,
)
from tencrop.images.limits import MAX_READS, MAX_SCANS
from tencrop.images.tiff_directory import COMPRESSION, HEIGHT, SMALL_INTEGERS, STRIPS, TILES, WIDTH, Directory
from tencrop.images.tiff_layout import BITS, CIELAB, JPEG, NONE, OLD_JPEG, PHOTOMETRIC

CHEAP = 8.0  # units; ordinary photographs of the web cost less than one
MEGA = 1e6
SCAN_COST = 0.06  # units for a megapixel and scan without a byte in it; telephones and the web write 1 to 10 scans
ARITHMETIC_SCAN_COST = 0.35
BYTE_COST, PROGRESSIVE_BYTE_COST = 1.5, 4.5  # units for a megabyte of coded pixels
USUAL_SCANS = 10  # where they are not counted
DECODINGS_WITHOUT_END = len(FILLS) + 2  # once with each ending, before and after that once more
FEW_SCANS = 16  # counted in the whole file; more are counted segment by segment
MAX_LOOKS = 2000  # at segments of a JPEG, which take 4 ms; encoders write some dozens
UNREAD = 100.0  # units, of an image in too many pieces to look at
PNG_COST, DEEP_PNG_COST = 2.5, 5.0  # units for a megapixel; deep: alpha or 16 bits
PIECE_COST = 0.0002  # units for a piece of a PNG's pixels
RUN_LENGTHS = (1, 2)  # compressions of a BMP, which Pillow undoes in Python
RUN_COST, RUN_BYTE_COST = 7.0, 50.0  # units for a megapixel, and for a megabyte
WEBP_COST, GIF_COST, BMP_COST = 6.0, 2.5, 1.0
RAW_TIFF_COST, TIFF_COST, DEEP_TIFF_COST = 1.5, 2.0, 5.0  # deep: more than 8 bits, or CIELAB
BLOCK_COST = 0.0006  # units for a strip or tile of a TIFF
ALPHA, DEEP = 4, 16  # bit of a PNG's colour type; bits of a sample


def estimate_cost(data: bytes) -> float:
    """The cost of `decode` in units; 0 where the header cannot be read, which `decode` refuses at once.

    The estimate may be too high by a factor of two or three, and hardly ever too low. It takes milliseconds for an
    image of 256 KiB, whatever the bytes are, and up to a second for one of 32 MiB.
    """
    for signature, estimate in ESTIMATES.items():
        if data.startswith(signature):
            try:
                return estimate(data)
            except ImageError:
                return UNREAD
            except (struct.error, OverflowError, KeyError):
                return 0.0
    return 0.0


def _estimate_jpeg(data: bytes) -> float:
    frame = read_frame(data, MAX_LOOKS)
    if frame is None:
        return 0.0
    is_arithmetic = frame.marker in (ARITHMETIC, ARITHMETIC_PROGRESSIVE)
    estimate = partial(_sum_jpeg, frame.width * frame.height, len(data), is_arithmetic, frame.marker == PROGRESSIVE)
    cost = estimate(USUAL_SCANS) if estimate(MAX_SCANS) <= CHEAP else estimate(_count_scans(data))
    has_end = data.endswith(EOI) or count(data, EOI, frame.end) > 0
    return cost if has_end else cost * DECODINGS_WITHOUT_END


def _count_scans(data: bytes) -> int:
    """The scans of a JPEG. It takes 0.1 ms, so it is left out where no number of scans makes a JPEG expensive."""
    scans = count(data, SOS)
    if scans > FEW_SCANS:  # or those of thumbnails, and what follows the end
        scans = sum(segment.marker == SCAN for segment in read_segments(data, MAX_LOOKS))
    return scans


def _sum_jpeg(pixels: int, size: int, is_arithmetic: bool, is_progressive: bool, scans: float) -> float:
    scan_cost = ARITHMETIC_SCAN_COST if is_arithmetic else SCAN_COST
    byte_cost = PROGRESSIVE_BYTE_COST if is_progressive or is_arithmetic else BYTE_COST
    return pixels / MEGA * (1 + scan_cost * scans) + size / MEGA * byte_cost


def _estimate_png(data: bytes) -> float:
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    cost = DEEP_PNG_COST if colour & ALPHA or bits == DEEP else PNG_COST
    return float(width * height / MEGA * cost) + count(data, b"IDAT") * PIECE_COST


def _estimate_gif(data: bytes) -> float:
    width, height = struct.unpack_from("<HH", data, 6)
    return float(width * height / MEGA * GIF_COST)


def _estimate_bmp(data: bytes) -> float:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    pixels = abs(width * height)
    if header > 12 and int.from_bytes(data[30:34], "little") in RUN_LENGTHS:
        return float(pixels / MEGA * RUN_COST + min(len(data), MAX_READS) / MEGA * RUN_BYTE_COST)
    return float(pixels / MEGA * BMP_COST)


def _estimate_webp(data: bytes) -> float:
    """An animation of few bytes costs the pixels of its canvas, as a still image does."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return width * height / MEGA * WEBP_COST


def _estimate_tiff(data: bytes) -> float:
    directory = Directory(data)
    pixels = directory.first(WIDTH, 0) * directory.first(HEIGHT, 0)
    blocks = directory.length(STRIPS) + directory.length(TILES)
    return _estimate_tiff_pixels(directory, pixels, blocks) + blocks * BLOCK_COST


def _estimate_tiff_pixels(directory: Directory, pixels: int, blocks: int) -> float:
    compression, data = directory.first(COMPRESSION, NONE), directory.data
    if compression in (JPEG, OLD_JPEG):
        scans = max(count(data, SOS) / max(blocks, 1), 1)
        is_arithmetic = any(count(data, bytes([0xFF, marker])) for marker in (ARITHMETIC, ARITHMETIC_PROGRESSIVE))
        is_progressive = count(data, bytes([0xFF, PROGRESSIVE])) > 0
        return TIFF_COST * _sum_jpeg(pixels, len(data), is_arithmetic, is_progressive, scans)
    is_deep = directory.first(BITS, 1, SMALL_INTEGERS) > 8 or directory.first(PHOTOMETRIC, 0) == CIELAB
    if is_deep:
        return pixels / MEGA * DEEP_TIFF_COST
    return pixels / MEGA * (RAW_TIFF_COST if compression == NONE else TIFF_COST)


ESTIMATES: dict[bytes, Callable[[bytes], float]] = {
    SOI: _estimate_jpeg,
    b"\x89PNG": _estimate_png,
    b"GIF8": _estimate_gif,
    b"BM": _estimate_bmp,
    b"RIFF": _estimate_webp,
    b"II": _estimate_tiff,
    b"MM": _estimate_tiff,
}
