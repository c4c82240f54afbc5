"""Body limits hold before anything is parsed: announced or counted bytes, and seconds."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from tencrop.server.body_limits import BodyLimits
from tencrop.server.shared_counts import SharedCount


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


def call(chunks: Sequence[bytes | float], headers: Sequence[tuple[bytes, bytes]] = ()) -> tuple[int, Any]:
    """Send a request whose body comes in these chunks, a number being a pause in seconds -> its status and body."""
    sent: list[Message] = []
    waiting = list(chunks)

    async def receive() -> Message:
        while isinstance(waiting[0], float):
            await asyncio.sleep(waiting.pop(0))  # type: ignore[arg-type]
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
    asyncio.run(BodyLimits(read_all, 100, 120, 0.2, 150, SharedCount())(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], body.decode()


def test_body_within_the_limits_passes_unchanged() -> None:
    assert call([b"x" * 60, b"y" * 40]) == (200, "100")


@pytest.mark.parametrize(("chunks", "headers"), [([b"x" * 60, b"y" * 41], []), ([b""], [(b"content-length", b"101")])])
def test_a_larger_body_is_413_however_it_is_sent(chunks: list[bytes], headers: list[tuple[bytes, bytes]]) -> None:
    status, body = call(chunks, headers)
    assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("size", "status"), [(120, 200), (121, 413)])
@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON; charset=utf-8"])
def test_json_has_a_bound_of_its_own(kind: bytes, size: int, status: int) -> None:
    assert call([b"x" * size], [(b"content-type", kind)])[0] == status
    assert call([b""], [(b"content-type", kind), (b"content-length", str(size).encode())])[0] == status


def test_slow_body_is_cut_off() -> None:
    status, body = call([b"x", 5.0, b"y"])
    assert (status, json.loads(body)["error"]["code"]) == (504, "deadline")
