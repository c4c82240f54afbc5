"""Compresses the bodies of responses: gzip and deflate."""

import re
import zlib

from tencrop.server.content_encoding import WINDOW_BITS

NEVER = re.compile(r"\s*q=0(\.0*)?\s*")  # the weight of an encoding that the client does not take


def compress(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The body in the first known encoding of the client's Accept-Encoding, and that encoding's name."""
    parts = (part.partition(";") for part in accepted.lower().split(","))
    names = [name.strip() for name, _, weight in parts if not NEVER.fullmatch(weight)]
    encoding = next((name for name in names if name in WINDOW_BITS), None)
    if encoding is None:
        return body, None
    return zlib.compress(body, 1, WINDOW_BITS[encoding]), encoding
