"""Limits on request bodies, enforced while they arrive: bytes per request, seconds per request, total bytes held."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tencrop.server.errors import REFUSED, ApiError, body_too_large_error, shutting_down_error
from tencrop.server.shared_counts import SharedCount

HOLD = "tencrop.hold"  # in a request's scope: a function that counts more bytes for the request; raises ApiError
CLOSE = {"Connection": "close"}  # the rest of the body is not read
REST_DEADLINE = "tencrop.rest_seconds"  # in a request's scope: seconds from its answer until the end of its body
DROPPED_SIZE = 2  # of the largest body; a body that is larger by its declared length ends the connection at once
DROP_SECONDS = 10.0  # in which a smaller one is read and dropped, so that its client comes to read the answer


class BodyLimits:
    """ASGI middleware: 413 above `max_bytes` (declared or received), 504 for a body slower than `seconds`.

    JSON has a limit of its own, `max_json_bytes`, for it may hold an image in base64.
    429 where the bodies of all unanswered requests would exceed `max_total` bytes together.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, max_json_bytes: int, seconds: float, max_total: int, held: SharedCount
    ) -> None:
        self.app, self.max_bytes, self.max_json_bytes = app, max_bytes, max_json_bytes
        self.seconds, self.max_total = seconds, max_total
        self._held = held  # bytes of all unanswered requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        declared = int(length) if length.isdigit() else 0
        is_json = headers.get(b"content-type", b"").lower().startswith(b"application/json")
        max_bytes = self.max_json_bytes if is_json else self.max_bytes
        answered = False

        async def send_noting(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            _count(scope, declared, max_bytes, declared)
            with self._holding() as hold:
                scope[HOLD] = hold
                bounded = self._bounded(scope, receive, hold, max_bytes, lambda: answered)
                await self.app(scope, bounded, send_noting)
        except ApiError as error:
            if answered:
                raise
            await error.response(scope["path"])(scope, receive, send)
        except asyncio.CancelledError:  # the time to drain is over
            if not answered:  # else the server closes the connection
                await shutting_down_error(CLOSE).response(scope["path"])(scope, receive, send)

    @contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that adds bytes to this request's share; the share is freed at the block's end."""
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            if not self._held.add(size, self.max_total):
                raise ApiError(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "queue_full",
                    "too many bytes are waiting; try again",
                    {"Retry-After": "1"},
                )
            mine += size

        try:
            yield hold
        finally:
            self._held.add(-mine)

    def _bounded(
        self,
        scope: Scope,
        receive: Receive,
        hold: Callable[[int], None],
        max_bytes: int,
        is_answered: Callable[[], bool],
    ) -> Receive:
        """A `receive` that counts bytes and seconds until the body is complete."""
        received, complete = 0, False
        due = asyncio.get_running_loop().time() + self.seconds

        async def bounded() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()  # the client's disconnect, which has no deadline
            try:
                async with asyncio.timeout_at(due):
                    message = await receive()
                if REFUSED in scope:
                    raise scope[REFUSED]
                received += len(message.get("body", b""))
                _count(scope, received, max_bytes)
                hold(len(message.get("body", b"")))
            except (ApiError, TimeoutError) as error:
                if is_answered():  # no other answer is possible
                    return {"type": "http.disconnect"}
                raise self._late() if isinstance(error, TimeoutError) else error from None
            complete = not message.get("more_body", False)
            return message

        return bounded

    def _late(self) -> ApiError:
        why = f"the body took longer than {self.seconds:g} s to arrive"
        return ApiError(HTTPStatus.GATEWAY_TIMEOUT, "deadline", why, CLOSE)


def _count(scope: Scope, size: int, max_bytes: int, declared: int = 0) -> None:
    """Compare a size with the limit. Raises ApiError 413 above `max_bytes`.

    The connection ends at once where the declared length is far above.
    """
    if size > max_bytes:
        scope[REST_DEADLINE] = DROP_SECONDS
        error = body_too_large_error(f"the body exceeds {max_bytes} bytes")
        error.headers = CLOSE if declared > DROPPED_SIZE * max_bytes else None
        raise error
