"""Inspects an encoded image before Pillow decodes it, and refuses an image that would cost too much time or memory.

A few bytes can ask Pillow's decoders for hours or gigabytes.
"""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tencrop.images.errors import ImageError, ImageTooLarge
from tencrop.images.jpeg_segments import SCAN, SOI, SOS, count, read_segments
from tencrop.images.tiff_limits import check_tiff

MAX_BYTES = 32 << 20  # of an encoded image in a file, as of a body over HTTP; larger ones are not read
MAX_SCANS = 64  # of a JPEG; encoders write a dozen, and each costs 2 to 5 ms per megapixel
MAX_EXIF_SEGMENTS = 16  # of a JPEG; for each, Pillow copies all of them again
MAX_PIECES = 20_000  # reads of a header
MAX_READS = 1_000_000  # of the pixels: a few for most formats, two per run of a BMP
MAX_CHUNKS = 100_000  # of a PNG
EXIF = b"Exif\0\0"
APP1 = b"\xff\xe1"  # marker of the segments in which Pillow looks for EXIF
PNG = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")  # chunks of a PNG


class ReadLimitedBytes(io.BytesIO):
    """A byte stream that allows `left` more reads. Hostile files make Pillow read four bytes a million times."""

    left = MAX_PIECES

    def read(self, size: int | None = -1, /) -> bytes:
        """Read and count the read. Raises ImageError where no read is left."""
        self.left -= 1
        if self.left < 0:
            raise ImageError("an image in too many pieces")
        return super().read(size)


def check_bytes(size: int) -> None:
    """Raise ImageTooLarge where an encoded image has more than MAX_BYTES. Call before the image is read."""
    if size > MAX_BYTES:
        raise ImageTooLarge(f"an image of {size} bytes; at most {MAX_BYTES} are read")


def read_image_file(path: Path) -> bytes:
    """Read an encoded image. Raises ImageTooLarge before a large file is read, OSError where there is no file."""
    with open(path, "rb", opener=_open_at_once) as opened:
        size = os.fstat(opened.fileno()).st_size
        check_bytes(size)
        data = opened.read(size or MAX_BYTES + 1)  # a device or a pipe has no size
    check_bytes(len(data))
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Open a file for reading. A named pipe is empty where nobody writes to it; opening it otherwise waits forever."""
    opened = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has neither these pipes nor the flag
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(opened, True)
    return opened


def check_encoded(data: bytes) -> ReadLimitedBytes:
    """Check an encoded image and return the stream for Pillow to open.

    Raises ImageError where decoding would cost far more than the number of pixels explains.
    """
    for signature, check in CHECKS.items():
        if data.startswith(signature):
            return ReadLimitedBytes(check(data))
    return ReadLimitedBytes(data)


def _check_jpeg(data: bytes) -> bytes:
    if count(data, SOS) > MAX_SCANS or count(data, APP1) > MAX_EXIF_SEGMENTS:
        _check_segments(data)
    return data


def _check_segments(data: bytes) -> None:
    """Count scans and EXIF segments up to the end of a JPEG, which other images or a telephone's film may follow."""
    scans, exifs = 0, 0
    for segment in read_segments(data):
        scans += segment.marker == SCAN
        exifs += data.startswith(EXIF, segment.start)
        if scans > MAX_SCANS or exifs > MAX_EXIF_SEGMENTS:
            raise ImageError(f"a JPEG of more than {MAX_SCANS} scans, or {MAX_EXIF_SEGMENTS} segments of EXIF")


def _keep_needed_chunks(data: bytes) -> bytes:
    """Keep the chunks with pixels, and eXIf, whose orientation browsers follow.

    Pillow would inflate the other chunks and keep their texts. Whether those are damaged is not checked.
    """
    return b"".join((PNG, *_needed_chunks(data)))


def _needed_chunks(data: bytes) -> Iterator[bytes]:
    return (data[start:end] for kind, start, end in find_chunks(data) if kind in NEEDED)


def find_chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind, the start and the end of each chunk of a PNG. Raises ImageError where there are too many."""
    at = len(PNG)
    for _ in range(MAX_CHUNKS):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        kind = png[at + 4 : at + 8]
        yield kind, at, end
        if kind == b"IEND" or end >= len(png):
            return
        at = end
    raise ImageError(f"a PNG of more than {MAX_CHUNKS} chunks")


def _check_tiff(data: bytes) -> bytes:
    check_tiff(data, MAX_SCANS)
    return data


CHECKS: dict[bytes, Callable[[bytes], bytes]] = {
    SOI: _check_jpeg,
    PNG: _keep_needed_chunks,
    b"II": _check_tiff,
    b"MM": _check_tiff,
}
