"""Explains in plain words why an image cannot be decoded, since Pillow's own messages are for programmers."""

import re

from PIL import UnidentifiedImageError

from tencrop.common.lfs_pointer import POINTER
from tencrop.images.errors import ImageError, TruncatedImage, UnsupportedImage
from tencrop.images.formats import FORMATS, has_known_signature
from tencrop.images.jpeg_segments import (
    ARITHMETIC,
    ARITHMETIC_PROGRESSIVE,
    BASELINE,
    EXTENDED,
    PROGRESSIVE,
    SOI,
    Frame,
    read_frame,
)

CODINGS = (BASELINE, EXTENDED, PROGRESSIVE, ARITHMETIC, ARITHMETIC_PROGRESSIVE)  # of a JPEG, that are read
COMPONENTS = (1, 3, 4)  # of a JPEG
UNPROCESSED = re.compile(r"\((\d+) bytes not processed\)")
TOO_EARLY = re.compile(r"truncated|incomplete|not enough image data|unexpected end", re.IGNORECASE)
UNSUPPORTED_BMP = re.compile(r"Unsupported BMP (header type|pixel depth|compression|bitfields layout|Palette size)")
BMP_DEPTHS, BMP_HEADERS, BMP_COMPRESSIONS = (1, 4, 8, 16, 24, 32), (12, 16, 40, 52, 56, 64, 108, 124), range(7)


def explain_failure(error: Exception, data: bytes) -> ImageError:
    """The error of an image that Pillow could not open or load."""
    if data.startswith(SOI) and (reason := _describe_unsupported_jpeg(read_frame(data))):
        return UnsupportedImage(reason)
    if isinstance(error, UnidentifiedImageError):
        if has_known_signature(data):
            return ImageError("damaged image: its header cannot be read")
        if not data:
            return UnsupportedImage("empty: it has no bytes")
        if data.startswith(POINTER):
            return UnsupportedImage("a Git LFS pointer in place of the image")
        return UnsupportedImage(f"not an image of a known format ({', '.join(FORMATS)})")
    message = str(error)
    if UNSUPPORTED_BMP.match(message) and _is_sound_bmp(data):
        return UnsupportedImage("a BMP of this layout is not supported")
    if found := UNPROCESSED.search(message):
        return TruncatedImage(f"damaged image: it ends too early ({found[1]} bytes are missing or unread)")
    if TOO_EARLY.search(message):
        return TruncatedImage("damaged image: it ends too early")
    return ImageError("damaged image: it cannot be decoded")


def _describe_unsupported_jpeg(frame: Frame | None) -> str:
    """Why no decoder here reads this kind of JPEG; empty where one does."""
    if frame is None:
        return ""
    if frame.marker not in CODINGS:
        return f"a JPEG of this coding is not supported (SOF{frame.marker & 15})"
    if frame.bits != 8:
        return f"a JPEG of {frame.bits} bits is not supported" if frame.bits == 12 else ""
    return (
        "" if len(frame.components) in COMPONENTS else f"a JPEG of {len(frame.components)} components is not supported"
    )


def _is_sound_bmp(data: bytes) -> bool:
    """True where the fields that Pillow does not support have values that the format defines."""
    header = int.from_bytes(data[14:18], "little")
    place = 24 if header == 12 else 28
    depth = int.from_bytes(data[place : place + 2], "little")
    compression = int.from_bytes(data[30:34], "little") if header > 16 else 0
    return header in BMP_HEADERS and depth in BMP_DEPTHS and compression in BMP_COMPRESSIONS
