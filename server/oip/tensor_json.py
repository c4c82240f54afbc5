"""Reads the array `data` of a tensor in JSON as bytes: strings of base64, or whole numbers from 0 to 255.

The array is cut out of the request's JSON, and only the small rest becomes objects.
"""

import math
import re
from collections.abc import Sequence

from pydantic_core import from_json

from tencrop.server.base64_decoder import WHITESPACE, decode_base64
from tencrop.server.errors import bad_request_error, body_too_large_error
from tencrop.server.json_body import MAX_SMALL_JSON

DATA = re.compile(rb'"data"\s*:\s*(?=\[)')
FIRST = re.compile(rb"[^\s\[]")  # the first byte of the array's first element
END = re.compile(rb"\](?!\s*(?:\]|,\s*\[))")  # of an array of strings, or of arrays of strings
NO_ARRAY = b"[]"  # stands in the rest for the array
FLAT = bytes.maketrans(b"[]", b"  ")
PIECE = 64 << 10  # bytes that are parsed at once; other threads run between two pieces


def cut_data(text: bytes) -> tuple[bytes, bytes | None]:
    """A request's JSON -> the JSON without the array `data`, and the array's own text; None where there is none.

    Raises ApiError 413 where the rest is large, 400 for an array of anything but numbers and strings.
    """
    found = DATA.search(text, 0, MAX_SMALL_JSON)
    start = end = found.end() if found else len(text)
    if found:
        end = _find_end(text, start)
    if len(text) - (end - start) > MAX_SMALL_JSON:
        raise body_too_large_error(f"the JSON beside the array `data` exceeds {MAX_SMALL_JSON} bytes")
    return (text[:start] + NO_ARRAY + text[end:], text[start:end]) if found else (text, None)


def _find_end(text: bytes, start: int) -> int:
    """The end of an array of strings, which hold no bracket, or of numbers, behind which a key or a brace follows.

    Either may be nested. Raises ApiError 400 for an array of anything else.
    """
    first = FIRST.search(text, start)
    if first and first[0] == b'"':
        closed = END.search(text, start)
        return closed.end() if closed else len(text)
    ends = [end for mark in (b'"', b"}") if (end := text.find(mark, start)) >= 0]
    last = text.rfind(b"]", start, min(ends, default=len(text)))
    if last < 0:
        raise bad_request_error("data: expected numbers, or strings of base64")
    return last + 1


def parse_images(text: bytes, shape: Sequence[int]) -> list[bytes]:
    """Decode an array of strings of base64, [N], or flat or nested [N,1]. Raises ValueError."""
    count, between = shape[0], text.count(b'"')
    if between != 2 * count:
        raise ValueError(f"{between // 2} elements; the shape says {count}")
    parts = text.split(b'"')
    brackets = b"".join(parts[::2]).translate(None, WHITESPACE)
    nested = b"[[" + b"],[" * (count - 1) + b"]]"
    if brackets != b"[" + b"," * (count - 1) + b"]" and (len(shape) == 1 or brackets != nested):
        raise ValueError("not an array of strings")
    return [decode_base64(part) for part in parts[1::2]]


def parse_pixels(text: bytes, shape: Sequence[int]) -> bytes:
    """Parse an array, flat or nested, of as many whole numbers from 0 to 255 as the shape says. Raises ValueError."""
    numbers, count = text.translate(FLAT), math.prod(shape)
    if (numbers.count(b",") + 1 if numbers.strip() else 0) != count:
        raise ValueError("another number of elements")
    pixels, at = bytearray(), 0
    while at < len(numbers) and count:
        comma = numbers.find(b",", at + PIECE)
        end = len(numbers) if comma < 0 else comma
        try:
            pixels += bytes(from_json(b"[%s]" % numbers[at:end]))
        except TypeError:  # `bytes` takes whole numbers from 0 to 255 and nothing else
            raise ValueError("an element is no whole number") from None
        at = end + 1
    return bytes(pixels)
