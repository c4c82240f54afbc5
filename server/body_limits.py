"""Bounds on requests' bodies, counted as they arrive and before anything parses them: bytes of one, seconds, bytes of all together."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tencrop.server.errors import ApiError, shutting_down_error

HOLD = "tencrop.hold"  # in a request's scope: what counts bytes that are made of its body, too; raises ApiError
CLOSE = {"Connection": "close"}  # what is left of the body is not read


class BodyLimits:
    """ASGI middleware: 413 above `max_bytes` (announced or received), 504 for a body slower than `seconds`.

    429 where the bodies of all requests that are not yet answered would exceed `max_total` bytes.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float, max_total: int) -> None:
        self.app, self.max_bytes, self.seconds, self.max_total = app, max_bytes, seconds, max_total
        self._held = 0  # bytes, of all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        answered = False

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            self._count(int(announced) if announced.isdigit() else 0)
            with self._holding() as hold:
                scope[HOLD] = hold
                await self.app(scope, self._bounded(receive, hold), watched)
        except ApiError as refusal:
            if answered:
                raise
            await refusal.response(scope["path"])(scope, receive, send)
        except asyncio.CancelledError:  # the drain's time is over
            if answered:
                raise
            await shutting_down_error(CLOSE).response(scope["path"])(scope, receive, send)

    @contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """A request's share of all bytes, which grows by what `hold` is told. Raises ApiError."""
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            if self._held + size > self.max_total:
                raise ApiError(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "queue_full",
                    "too many bytes are waiting; try again",
                    {"Retry-After": "1", **CLOSE},
                )
            mine += size
            self._held += size

        try:
            yield hold
        finally:
            self._held -= mine

    def _bounded(self, receive: Receive, hold: Callable[[int], None]) -> Receive:
        """`receive` that counts bytes and seconds until the body is complete."""
        received, complete = 0, False
        due = asyncio.get_running_loop().time() + self.seconds

        async def bounded() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()  # waits for the client to leave: no deadline
            try:
                async with asyncio.timeout_at(due):
                    message = await receive()
            except TimeoutError:
                raise ApiError(
                    HTTPStatus.GATEWAY_TIMEOUT,
                    "deadline",
                    f"the body took longer than {self.seconds:g} s to arrive",
                    CLOSE,
                ) from None
            received += len(message.get("body", b""))
            self._count(received)
            hold(len(message.get("body", b"")))
            complete = not message.get("more_body", False)
            return message

        return bounded

    def _count(self, size: int) -> None:
        if size > self.max_bytes:
            raise ApiError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"the body exceeds {self.max_bytes} bytes", CLOSE
            )
