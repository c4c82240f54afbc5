"""Bounds on a request's body, counted as it arrives and before anything parses it: bytes and seconds."""

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import Refusal

CLOSE = {"Connection": "close"}  # what is left of the body is not read


class BodyLimits:
    """ASGI middleware: 413 above `max_bytes` (announced or received), 504 for a body slower than `seconds`."""

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self.app, self.max_bytes, self.seconds = app, max_bytes, seconds

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
            await self.app(scope, self._bounded(receive), watched)
        except Refusal as refusal:
            if answered:
                raise
            await refusal.response()(scope, receive, send)
        except asyncio.CancelledError:  # the drain's time is over
            if answered:
                raise
            late = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down", "the server is shutting down", CLOSE)
            await late.response()(scope, receive, send)

    def _bounded(self, receive: Receive) -> Receive:
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
                raise Refusal(
                    HTTPStatus.GATEWAY_TIMEOUT, "deadline", f"the body took longer than {self.seconds:g} s to arrive", CLOSE
                ) from None
            received += len(message.get("body", b""))
            self._count(received)
            complete = not message.get("more_body", False)
            return message

        return bounded

    def _count(self, size: int) -> None:
        if size > self.max_bytes:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"the body exceeds {self.max_bytes} bytes", CLOSE)
