"""Completes JPEGs that lack their end marker. A picture is complete if no ending changes a pixel.

libjpeg notices missing bits, but Pillow does not pass that on. So the picture is decoded with several endings. Where
bits are missing, the decoder takes them from the ending, and the pictures differ.
"""

import zlib
from collections.abc import Iterator

from PIL import Image

from tencrop.images.jpeg_segments import (
    BASELINE,
    EOI,
    EXTENDED,
    PROGRESSIVE,
    SOS,
    Frame,
    count,
    has_every_scan,
    read_frame,
)

CODINGS = (BASELINE, EXTENDED, PROGRESSIVE)  # an arithmetic decoder misses no bit: it goes on with zeros
MAX_PASSES = 64_000_000  # pixels x scans; the picture is decoded once with each ending
# Bits that mean something else in each ending, at whichever bit of a code a decoder begins: in a poor table, most codes
# are invalid and mean zero. They fill blocks that lie below the picture too. No byte is 0xff, which begins a marker.
PATTERNS = (b"\xaa\xaa\xaa", b"\x55\x55\x55", b"\x92\x49\x24", b"\x49\x24\x92", b"\x24\x92\x49")
FILLS = tuple(pattern * 360 for pattern in PATTERNS)
RESTARTS = 8  # restart markers count from 0 to 7
PADDING = 16  # zero bytes in a row behind a file that was cut off; fewer may be pixels
ROWS = 64  # that are copied at a time


def complete(data: bytes) -> Iterator[bytes]:
    """Yield the JPEG with each of the endings; nothing where pixels are missing, or where that cannot be found out."""
    frame = read_frame(data)
    if frame is None or not _may_be_whole(data, frame):
        return
    start, end = data.rindex(SOS), len(data.rstrip(b"\0"))
    end = len(data) if len(data) - end < PADDING else end
    while data[end - 1] == 0xFF:  # the first half of a marker
        end -= 1
    restart = _next_restart(data, start)
    markers = [bytes([0xFF, 0xD0 + (restart + i) % RESTARTS]) for i in range(RESTARTS)]
    for fill in FILLS:
        yield data[:end] + b"".join(fill + marker for marker in markers) + EOI


def sum_pixels(image: Image.Image) -> int:
    """A checksum of an image's pixels."""
    total = 0
    for top in range(0, image.height, ROWS):
        total = zlib.crc32(image.crop((0, top, image.width, min(top + ROWS, image.height))).tobytes(), total)
    return total


def _may_be_whole(data: bytes, frame: Frame) -> bool:
    passes = frame.width * frame.height * count(data, SOS)
    return frame.marker in CODINGS and passes <= MAX_PASSES and has_every_scan(data, frame)


def _next_restart(data: bytes, start: int) -> int:
    """The number of the restart marker that follows the last one behind `start`."""
    place, last = max((data.rfind(bytes([0xFF, 0xD0 + i]), start), i) for i in range(RESTARTS))
    return (last + 1) % RESTARTS if place >= 0 else 0
