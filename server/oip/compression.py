"""Compresses the bodies of responses: gzip and deflate."""

import zlib

from tencrop.server.content_encoding import WINDOW_BITS


def compress(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The body in the first known encoding of the client's Accept-Encoding, and that encoding's name."""
    names = [name.partition(";")[0].strip().lower() for name in accepted.split(",")]
    encoding = next((name for name in names if name in WINDOW_BITS), None)
    if encoding is None:
        return body, None
    return zlib.compress(body, 1, WINDOW_BITS[encoding]), encoding
