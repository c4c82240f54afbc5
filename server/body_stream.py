"""Reads a request's body while it arrives, undoes its Content-Encoding and refuses more bytes than the route allows."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from fastapi import Request

from tencrop.server.body_limits import HOLD
from tencrop.server.content_encoding import inflate, read_encoding
from tencrop.server.errors import body_too_large_error


def max_body_bytes(request: Request) -> int:
    """The server's limit on a plain body, in bytes."""
    return cast(int, request.app.state.server_state.settings.max_body_bytes)


async def stream_body(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the body's plain bytes.

    Raises ApiError 413 above `max_bytes`, 415 for an unknown Content-Encoding, 400 for a damaged body, and the errors
    of BodyLimits.
    """
    encoding, received = read_encoding(request), 0
    async with aclosing(request.stream()) as chunks:
        async for piece in inflate(chunks, encoding, request.scope[HOLD]) if encoding else chunks:
            received += len(piece)
            if received > max_bytes:
                raise body_too_large_error(f"the body exceeds {max_bytes} bytes")
            yield piece


async def read_body(request: Request, max_bytes: int | None = None) -> bytes:
    """Read the whole body. Without `max_bytes` the server's own limit holds. Raises as `stream_body` does."""
    body = bytearray()
    async with aclosing(stream_body(request, max_bytes or max_body_bytes(request))) as pieces:
        async for piece in pieces:
            body += piece  # a list of small pieces would break the heap into pieces, too
    return bytes(body)
