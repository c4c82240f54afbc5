"""Reads the segments of a JPEG: the frame, the scans and what else stands before the end marker."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tencrop.images.errors import ImageError

SOI, SOS, EOI = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
# A JPEG's end and its markers that have a length. libjpeg stops at others, or drops them.
MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
BASELINE, EXTENDED, PROGRESSIVE, ARITHMETIC, ARITHMETIC_PROGRESSIVE = 0xC0, 0xC1, 0xC2, 0xC9, 0xCA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of a frame header
SCAN, END = 0xDA, 0xD9
COEFFICIENTS = 64  # of a block
MAX_SEGMENTS = 20_000  # 32 MiB of full segments are 1,500
PIECE = 64 << 10  # bytes that are searched at once: a regex keeps all other threads waiting, numpy takes as many again


class Segment(NamedTuple):
    """One segment: the marker's second byte, and where the body begins and ends behind the length."""

    marker: int
    start: int
    end: int


class Frame(NamedTuple):
    """A JPEG's frame header."""

    marker: int
    bits: int
    height: int
    width: int
    components: bytes  # their identifiers
    end: int  # where the header ends in the file


def read_segments(data: bytes, most: int = MAX_SEGMENTS) -> Iterator[Segment]:
    """The segments up to the end marker, which is the last. A telephone's film or an MPO's other images may follow it.

    Raises ImageError above `most` segments.
    """
    at = len(SOI)
    for _ in range(most):
        marker = _find_marker(data, at)
        if marker is None:
            return
        if marker[0] == EOI:
            yield Segment(END, marker.end(), marker.end())
            return
        start = marker.end() + 2
        at = marker.end() + int.from_bytes(data[marker.end() : start])
        yield Segment(marker[0][1], start, at)
    raise ImageError(f"a JPEG of more than {most} segments")


def read_frame(data: bytes, most: int = MAX_SEGMENTS) -> Frame | None:
    """The first frame header; None where there is none that is whole. Raises ImageError as `read_segments` does."""
    segment = next((segment for segment in read_segments(data, most) if segment.marker in FRAMES), None)
    if segment is None or segment.end > len(data):
        return None
    body = data[segment.start : segment.end]
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        return None
    size = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    return Frame(segment.marker, body[0], *size, body[6 : 6 + 3 * body[5] : 3], segment.end)


def count(data: bytes, pattern: bytes, start: int = 0) -> int:
    """Count the places of a pattern from `start` on. numpy takes a sixth of the time of bytes.count."""
    array, beyond = np.frombuffer(data, np.uint8), len(pattern) - 1
    pieces = (array[at : at + PIECE + beyond] for at in range(start, len(data) - beyond, PIECE))
    return sum(_count_in(piece, pattern) for piece in pieces)


def _count_in(piece: np.ndarray, pattern: bytes) -> int:
    places = len(piece) - len(pattern) + 1
    found = piece[:places] == pattern[0]
    for offset, byte in enumerate(pattern[1:], 1):
        found &= piece[offset : offset + places] == byte
    return int(np.count_nonzero(found))


def has_every_scan(data: bytes, frame: Frame) -> bool:
    """True where the scans cover every coefficient of every component, in a progressive frame down to the last bit."""
    missing = {component: dict.fromkeys(range(COEFFICIENTS), 1) for component in frame.components}
    for segment in read_segments(data):
        body = data[segment.start : segment.end]
        if segment.marker != SCAN or segment.end > len(data) or len(body) < 1 or len(body) < 4 + 2 * body[0]:
            continue
        first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
        if frame.marker != PROGRESSIVE:
            first, last, bits = 0, COEFFICIENTS - 1, 0
        for component in body[1 : 1 + 2 * body[0] : 2]:
            missing.setdefault(component, {}).update(dict.fromkeys(range(first, last + 1), bits & 15))
    return not any(bits for bands in missing.values() for bits in bands.values())


def _find_marker(data: bytes, at: int) -> re.Match[bytes] | None:
    """The first marker from `at` on."""
    pieces = (MARKER.search(data, start, start + PIECE + 1) for start in range(at, len(data), PIECE))
    return next((marker for marker in pieces if marker), None)
