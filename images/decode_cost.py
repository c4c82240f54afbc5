"""Estimates from the header what decoding an image costs, so that cheap images need not wait for expensive ones.

The unit is one megapixel of a photograph as a baseline JPEG decoded in full, which takes 6 to 14 ms. Each factor is the
time of another kind of image, with the slowest content, in this unit. Frames behind the first one are never decoded.
"""

import struct
from collections.abc import Callable
from functools import partial

from tencrop.images.errors import ImageError
from tencrop.images.formats import is_heif
from tencrop.images.heif_limits import check_heif
from tencrop.images.jpeg_end import FILLS
from tencrop.images.jpeg_scale import choose_divisor, has_several_scans
from tencrop.images.jpeg_segments import (
    ARITHMETIC,
    ARITHMETIC_PROGRESSIVE,
    END,
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
from tencrop.model.contract import Contract

CHEAP = 8.0  # units; ordinary photographs of the web cost less than one
MEGA = 1e6
SCAN_COST = 0.06  # units for a megapixel and scan without a byte in it; telephones and the web write 1 to 10 scans
ARITHMETIC_SCAN_COST = 0.35
SCALED_COST = 0.2  # units for a megapixel that is decoded at a part of its size, beside those of the part
BYTE_COST, PROGRESSIVE_BYTE_COST = 1.5, 4.5  # units for a megabyte of coded pixels
USUAL_SCANS = 10  # where they are not counted
DECODINGS_WITHOUT_END = len(FILLS) + 2  # once with each ending, before and after that once more
MAX_LOOKS = 2000  # at segments of a JPEG, which take 4 ms; encoders write some dozens
UNREAD = 100.0  # units, of an image in too many pieces to look at
PNG_COST, DEEP_PNG_COST = 2.5, 5.0  # units for a megapixel; deep: alpha or 16 bits
PIECE_COST = 0.0002  # units for a piece of a PNG's pixels
RUN_LENGTHS = (1, 2)  # compressions of a BMP, which Pillow undoes in Python
RUN_COST, RUN_BYTE_COST = 7.0, 50.0  # units for a megapixel, and for a megabyte
WEBP_COST, GIF_COST, BMP_COST = 6.0, 2.5, 1.0
HEIF_COST = 6.0  # of AVIF too
RAW_TIFF_COST, TIFF_COST, DEEP_TIFF_COST = 1.5, 2.0, 5.0  # deep: more than 8 bits, or CIELAB
BLOCK_COST = 0.0006  # units for a strip or tile of a TIFF
ALPHA, DEEP = 4, 16  # bit of a PNG's colour type; bits of a sample


def estimate_cost(data: bytes, contract: Contract) -> float:
    """The cost of `decode` in units; 0 where the header cannot be read, which `decode` refuses at once.

    The estimate may be too high by a factor of two or three, and hardly ever too low. It takes milliseconds for an
    image of 256 KiB, whatever the bytes are, and up to a second for one of 32 MiB.
    """
    try:
        if data.startswith(SOI):
            return _estimate_jpeg(data, contract)
        if is_heif(data):
            return check_heif(data).pixels / MEGA * HEIF_COST
        return next((estimate(data) for signature, estimate in ESTIMATES.items() if data.startswith(signature)), 0.0)
    except ImageError:
        return UNREAD
    except (struct.error, OverflowError, KeyError):
        return 0.0


def _estimate_jpeg(data: bytes, contract: Contract) -> float:
    """Small JPEGs are estimated in 0.02 ms. All segments are read where scans or a missing end could be expensive."""
    frame = read_frame(data, MAX_LOOKS)
    if frame is None:
        return 0.0
    is_arithmetic = frame.marker in (ARITHMETIC, ARITHMETIC_PROGRESSIVE)
    estimate = partial(_sum_jpeg, frame.width * frame.height, is_arithmetic, frame.marker == PROGRESSIVE)
    if DECODINGS_WITHOUT_END * estimate(len(data), MAX_SCANS) <= CHEAP:
        has_end = data.endswith(EOI) or count(data, EOI, frame.end) > 0
        return estimate(len(data), USUAL_SCANS) * (1 if has_end else DECODINGS_WITHOUT_END)
    segments = [*read_segments(data, MAX_LOOKS)]
    scans = sum(segment.marker == SCAN for segment in segments)
    if segments[-1].marker != END:  # its endings are compared in full
        return DECODINGS_WITHOUT_END * estimate(len(data), scans)
    divisor = 1 if has_several_scans(data) else choose_divisor(frame.width, frame.height, contract)
    return estimate(segments[-1].end, scans, divisor)  # what follows the end is not decoded


def _sum_jpeg(
    pixels: int, is_arithmetic: bool, is_progressive: bool, size: int, scans: float, divisor: int = 1
) -> float:
    scan_cost = ARITHMETIC_SCAN_COST if is_arithmetic else SCAN_COST
    byte_cost = PROGRESSIVE_BYTE_COST if is_progressive or is_arithmetic else BYTE_COST
    pixel_cost = 1 if divisor == 1 else divisor**-2 + SCALED_COST
    return pixels / MEGA * (pixel_cost + scan_cost * scans) + size / MEGA * byte_cost


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
        return TIFF_COST * _sum_jpeg(pixels, is_arithmetic, is_progressive, len(data), scans)
    is_deep = directory.first(BITS, 1, SMALL_INTEGERS) > 8 or directory.first(PHOTOMETRIC, 0) == CIELAB
    if is_deep:
        return pixels / MEGA * DEEP_TIFF_COST
    return pixels / MEGA * (RAW_TIFF_COST if compression == NONE else TIFF_COST)


ESTIMATES: dict[bytes, Callable[[bytes], float]] = {
    b"\x89PNG": _estimate_png,
    b"GIF8": _estimate_gif,
    b"BM": _estimate_bmp,
    b"RIFF": _estimate_webp,
    b"II": _estimate_tiff,
    b"MM": _estimate_tiff,
}
