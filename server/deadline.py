"""Awaits the answer to a request: until the time is over or the client leaves."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from http import HTTPStatus
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from tencrop.server.errors import ApiError

Answer = TypeVar("Answer")


async def with_deadline(request: Request, seconds: float, work: Awaitable[Answer]) -> Answer:
    """Await `work` for at most `seconds`, and only while the client stays. The request's body must have been read.

    Raises ApiError 504 when the time is over, ClientDisconnect when the client leaves; the work is cancelled then.
    """
    left = asyncio.ensure_future(request.receive())  # the next message after a body is the client's disconnect
    try:
        async with asyncio.timeout(seconds) as timeout:
            left.add_done_callback(lambda _: _end_now(timeout))
            return await work
    except TimeoutError:
        if not timeout.expired():
            raise  # by the work itself
        if left.done():
            raise ClientDisconnect from None
        raise ApiError(HTTPStatus.GATEWAY_TIMEOUT, "deadline", f"no answer within {seconds:g} s; try again") from None
    finally:
        left.cancel()


def _end_now(timeout: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # the block has ended
        timeout.reschedule(asyncio.get_running_loop().time())
