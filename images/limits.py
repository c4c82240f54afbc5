"""Bounds: an encoded image as Pillow may have it. A few bytes can ask its decoders for hours or gigabytes, so they are looked at first."""

import io
import re
from collections.abc import Callable, Iterator

from tencrop.images.errors import ImageError
from tencrop.images.tiff_limits import check_tiff

MAX_SCANS = 64  # of a JPEG; encoders write a dozen, and each costs 2 to 5 ms a megapixel
MAX_EXIF_SEGMENTS = 16  # of a JPEG; Pillow joins them, and copies all of them for each
MAX_PIECES = 20_000  # that Pillow reads of a header; 32 MiB of full JPEG segments are 1,500
MAX_READS = 1_000_000  # that it takes for the pixels then: a few for most, two a run of a BMP
MAX_CHUNKS = 100_000  # of a PNG
SOI, SOS, EOI, EXIF = b"\xff\xd8", b"\xff\xda", b"\xff\xd9", b"Exif\0\0"
MARKER = re.compile(
    rb"\xff[\xc0-\xcf\xd9-\xfe]"
)  # of a JPEG, its end and those that have a length; libjpeg stops at others or drops them
PNG = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")  # chunks of a PNG


class ReadLimitedBytes(io.BytesIO):
    """An image that may be read in `left` more pieces: it would take millions of four bytes, and a second for each MB."""

    left = MAX_PIECES

    def read(self, size: int | None = -1, /) -> bytes:
        """Raises ImageError where there were too many before."""
        self.left -= 1
        if self.left < 0:
            raise ImageError("an image in too many pieces")
        return super().read(size)


def check_encoded(data: bytes) -> ReadLimitedBytes:
    """The image for Pillow to open. Raises ImageError where it would cost far more than its pixels do."""
    for signature, check in CHECKS.items():
        if data.startswith(signature):
            return ReadLimitedBytes(check(data))
    return ReadLimitedBytes(data)


def _jpeg(data: bytes) -> bytes:
    if data.count(SOS) > MAX_SCANS or data.count(EXIF) > MAX_EXIF_SEGMENTS:
        _check_segments(data)
    return data


def _check_segments(data: bytes) -> None:
    """What follows its end, as the film of a telephone or the other images of an MPO, is none of a JPEG."""
    scans, exifs, at = 0, 0, len(SOI)
    for _ in range(MAX_PIECES):
        marker = MARKER.search(data, at)
        if marker is None or marker[0] == EOI:
            return
        scans += marker[0] == SOS
        exifs += data.startswith(EXIF, marker.end() + 2)
        if scans > MAX_SCANS or exifs > MAX_EXIF_SEGMENTS:
            break
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    raise ImageError(
        f"a JPEG of more than {MAX_SCANS} scans, {MAX_EXIF_SEGMENTS} segments of EXIF, or {MAX_PIECES} in all"
    )


def _png(data: bytes) -> bytes:
    """What its pixels are made of, and eXIf, which tells the orientation as browsers have it. Other chunks inflate, and Pillow keeps
    their texts among its own notes; that they are damaged is not looked at."""
    return b"".join((PNG, *_needed(data)))


def _needed(data: bytes) -> Iterator[bytes]:
    at = len(PNG)
    for _ in range(MAX_CHUNKS):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        if kind in NEEDED:
            yield data[at:end]
        if kind == b"IEND" or end >= len(data):
            return
        at = end
    raise ImageError(f"a PNG of more than {MAX_CHUNKS} chunks")


def _tiff(data: bytes) -> bytes:
    check_tiff(data)
    return data


CHECKS: dict[bytes, Callable[[bytes], bytes]] = {SOI: _jpeg, PNG: _png, b"II": _tiff, b"MM": _tiff}
