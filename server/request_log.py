"""RequestLog: gives every request an id, a line of JSON on stdout, and a place in the metrics."""

import logging
import random
import re
import sys
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tencrop.common.terminal_text import dump_json
from tencrop.server.errors import REFUSED, internal_error
from tencrop.server.hardening_headers import HARDENING
from tencrop.server.log_writer import LogWriter
from tencrop.server.trace_context import TraceContext, read_trace_context

ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)  # a proxy's or client's own id; any other is replaced
HEADER = b"x-request-id"
UNKNOWN = "unknown"  # the route of a path that has none

log = logging.getLogger("tencrop.access")


def log_requests_to_stdout(lock: AbstractContextManager[None] | None = None) -> None:
    """Write a line of JSON to stdout for each request, from now on."""
    if not sys.stdout:  # the process was started without one
        return
    log.addHandler(LogWriter(sys.stdout.fileno(), "stdout", lock))
    log.setLevel(logging.INFO)
    log.propagate = False


class RequestLog:
    """The outermost ASGI middleware, which also adds the hardening headers.

    Answers 500 where an exception reaches it before an answer began.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        given = dict(scope["headers"]).get(HEADER, b"").decode("latin-1")
        name = given if ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        scope["tencrop.request"] = name
        trace, spans = read_trace_context(scope["headers"]), scope["app"].state.server_state.spans
        span = spans.start(scope, trace) if spans else None
        if span:
            trace = span.trace
        added = [*HARDENING, (HEADER, name.encode()), *(trace.headers() if trace else ())]
        status = 0  # until an answer begins

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        app = scope[REFUSED].response(scope["path"]) if REFUSED in scope else self.app
        try:
            await app(scope, receive, send_with_id)
        except Exception as error:
            error.add_note(f"request {name}")  # printed below the traceback
            if not status:
                await internal_error().response(scope["path"])(scope, receive, send_with_id)
            raise
        finally:
            status = status or HTTPStatus.INTERNAL_SERVER_ERROR.value
            route = getattr(scope.get("route"), "path", UNKNOWN)
            if span:
                span.end(route, status)
            self._record(scope, route, trace, status, time.perf_counter() - started)

    @staticmethod
    def _record(scope: Scope, route: str, trace: TraceContext | None, status: int, seconds: float) -> None:
        metrics, method = scope["app"].state.server_state.metrics, scope["method"] if route != UNKNOWN else UNKNOWN
        metrics.requests.labels(method, route, status).inc()
        metrics.request_seconds.labels(method, route).observe(seconds)
        if log.isEnabledFor(logging.INFO):
            line: dict[str, Any] = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "request": scope["tencrop.request"],
                "client": (scope.get("client") or ("",))[0],
                "key": scope.get("tencrop.key"),
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(seconds * 1e3, 1),
                **(trace.log_fields() if trace else {}),
            }
            log.info(dump_json(line))
