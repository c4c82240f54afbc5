"""Every request: an id, a line of JSON on stdout, and its place in the metrics."""

import json
import logging
import re
import sys
import time
import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tencrop.server.errors import internal_error

ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)  # of a proxy or a client; another is replaced
HEADER = b"x-request-id"
UNKNOWN = "unknown"  # a path that is no route

log = logging.getLogger("tencrop.access")


def log_to_stdout() -> None:
    """One line of JSON a request."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


class RequestLog:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = time.perf_counter()
        given = dict(scope["headers"]).get(HEADER, b"").decode("latin-1")
        name = given if ID.fullmatch(given) else uuid.uuid4().hex
        status = 0  # until something is answered

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, name.encode())]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            error.add_note(f"request {name}")  # stands behind the traceback in the log
            if not status:
                await internal_error().response(scope["path"])(scope, receive, watched)
            raise
        finally:
            self._tell(scope, name, status or HTTPStatus.INTERNAL_SERVER_ERROR.value, time.perf_counter() - began)

    @staticmethod
    def _tell(scope: Scope, name: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNKNOWN)
        metrics = scope["app"].state.server_state.metrics
        metrics.requests.labels(scope["method"] if route != UNKNOWN else UNKNOWN, route, status).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if log.isEnabledFor(logging.INFO):
            line: dict[str, Any] = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "request": name,
                "client": (scope.get("client") or ("",))[0],
                "key": scope.get("tencrop.key"),
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(seconds * 1e3, 1),
            }
            log.info(json.dumps(line, ensure_ascii=False))
