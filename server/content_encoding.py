"""Undoes the Content-Encoding of a request's body while the body arrives: gzip and deflate."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

from fastapi import Request

from tencrop.server.errors import ApiError, bad_request_error

WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}  # zlib's name of each encoding
PIECE = 256 << 10  # bytes that are inflated at once


def read_encoding(request: Request) -> str | None:
    """The encoding of a request's body; None for a plain body. Raises ApiError 415 for any but gzip and deflate."""
    given = ",".join(request.headers.getlist("content-encoding"))
    names = [name for part in given.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if not names:
        return None
    encoding = names[0].removeprefix("x-")  # x-gzip is an old name of gzip
    if len(names) == 1 and encoding in WINDOW_BITS:
        return encoding
    raise ApiError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported_encoding",
        f"content-encoding {', '.join(names)[:64]!r}: send gzip or deflate",
        {"Accept-Encoding": ", ".join(WINDOW_BITS)},
    )


async def inflate(chunks: AsyncIterator[bytes], encoding: str, hold: Callable[[int], None]) -> AsyncIterator[bytes]:
    """Yield the plain bytes in pieces of at most PIECE bytes; `hold` counts each piece.

    Threads inflate, for a chunk of 64 KiB may become 64 MiB. Raises ApiError 400 for a damaged body.
    """
    stream = zlib.decompressobj(WINDOW_BITS[encoding])
    async for chunk in chunks:
        rest, is_full = chunk, False
        while rest or is_full:
            if stream.eof:
                raise bad_request_error(f"bytes follow the end of the {encoding} body")
            try:
                piece = await asyncio.to_thread(stream.decompress, rest, PIECE)
            except zlib.error:
                raise bad_request_error(f"the body is not {encoding}") from None
            hold(len(piece))
            yield piece
            rest = stream.unconsumed_tail or stream.unused_data
            is_full = len(piece) == PIECE and not stream.eof  # zlib may hold more bytes back
    if not stream.eof:
        raise bad_request_error(f"the {encoding} body is cut off")
