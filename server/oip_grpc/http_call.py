"""HttpCaller: asks the application in this process by the HTTP request that asks the same as a gRPC call."""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.types import Message

from tencrop.server.json_body import JSON
from tencrop.server.trace_context import TRACEPARENT, TRACESTATE

FORWARDED = ("authorization", "x-api-key", "x-request-id", TRACEPARENT, TRACESTATE)  # metadata that become headers
RETURNED = ("x-request-id", TRACEPARENT, TRACESTATE)  # headers that become metadata behind the answer
OCTETS = "application/octet-stream"

log = logging.getLogger("uvicorn.error")


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class HttpCaller:
    """Asks an application. `tasks` are the requests that the HTTP server waits for at its end."""

    def __init__(self, app: FastAPI, tasks: set[asyncio.Task[Any]]) -> None:
        self._app, self._tasks = app, tasks

    async def call(
        self, method: str, path: str, body: bytes, context: Any, headers: dict[str, str] | None = None
    ) -> Reply:
        """Ask the application. It sees the client leave where the call is cancelled or its deadline is over."""
        own = {"content-type": OCTETS if headers else JSON, "content-length": str(len(body)), **(headers or {})}
        given = [(name, value) for name, value in context.invocation_metadata() if name in FORWARDED]
        left, received = asyncio.Event(), False
        reply, answer = Reply(HTTPStatus.INTERNAL_SERVER_ERROR, {}, b""), bytearray()

        async def receive() -> Message:
            nonlocal received
            if not received:
                received = True
                return {"type": "http.request", "body": body, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal reply
            if message["type"] == "http.response.start":
                reply = reply._replace(status=message["status"], headers=dict(message["headers"]))
            else:
                answer.extend(message.get("body", b""))

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "2",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in (*given, *own.items())],
            "client": _read_peer(context.peer()),
            "server": None,
            "state": {},
        }
        task = asyncio.ensure_future(self._app(scope, receive, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            left.set()
            raise
        except Exception:  # answered with 500
            log.exception("a call by gRPC failed")
        found = [(name, reply.headers[name.encode()].decode()) for name in RETURNED if name.encode() in reply.headers]
        context.set_trailing_metadata(found)
        return reply._replace(body=bytes(answer))


def _read_peer(peer: str) -> tuple[str, int]:
    """Address and port of a peer, such as ipv4:127.0.0.1:40000 or ipv6:%5B::1%5D:40000."""
    address, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return address.strip("[]"), int(port) if port.isdecimal() else 0
