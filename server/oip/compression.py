"""Compression of request and response bodies: gzip and deflate."""

import zlib
from http import HTTPStatus

from tencrop.server.errors import ApiError

WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}  # zlib's name of each encoding


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """A body without its Content-Encoding. Raises ApiError where it is damaged, or larger than `max_bytes`."""
    if encoding in ("", "identity"):
        return body
    if encoding not in WINDOW_BITS:
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            f"content-encoding {encoding!r}: send gzip or deflate",
        )
    try:
        stream = zlib.decompressobj(WINDOW_BITS[encoding])
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_request", f"the body is not {encoding}") from None
    if len(plain) > max_bytes:
        why = f"the inflated body exceeds {max_bytes} bytes"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", why)
    if not stream.eof:
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_request", f"the {encoding} body is cut off")
    return plain


def compress(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The body in the first known encoding of the client's Accept-Encoding, and that encoding's name."""
    names = [name.partition(";")[0].strip().lower() for name in accepted.split(",")]
    encoding = next((name for name in names if name in WINDOW_BITS), None)
    if encoding is None:
        return body, None
    return zlib.compress(body, 1, WINDOW_BITS[encoding]), encoding
