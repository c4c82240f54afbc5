"""Slow, silent and malformed clients on real sockets: their connections are closed, and others are answered."""

import asyncio
import gzip
import io
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import numpy as np
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from PIL import Image
from sockets import HEALTH, Address, post, read_error, receive_all, serve_in_thread, talk

from tencrop.runtime.classifier import Classifier
from tencrop.server import connection
from tencrop.server.app import create_app
from tencrop.server.connection import HEAD_BYTES, HEADERS
from tencrop.server.settings import Settings

SECONDS = 0.3  # every deadline here; uvloop starts its clocks up to an iteration early


@pytest.fixture(scope="module")
def address(classifier: Classifier) -> Iterator[Address]:
    """A server with short deadlines."""
    settings = Settings(body_seconds=SECONDS, max_body_bytes=1000, max_bodies_bytes=1500)
    with pytest.MonkeyPatch.context() as patch, serve_in_thread(create_app([classifier], settings)) as address:
        patch.setattr(connection, "HEAD_SECONDS", SECONDS)
        patch.setattr(connection, "REST_SECONDS", SECONDS)
        yield address


def png() -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (8, 8)).save(packed, "PNG")
    return packed.getvalue()


@pytest.mark.parametrize("begun", [(), (b"GET /healthz HTTP/1.1\r\nHost: x\r\n",), (b"\r\n",), (b"G", b"E", b"T")])
def test_a_missing_head_is_cut_off(address: Address, begun: tuple[bytes, ...]) -> None:
    received, seconds = talk(address, *begun, pause=0.1)
    assert received == b"" and seconds > SECONDS / 2


def test_a_head_that_arrives_byte_by_byte_is_cut_off(address: Address) -> None:
    received, _ = talk(address, *(bytes([byte]) for byte in HEALTH), pause=0.05)
    assert received == b""


def test_the_head_of_a_later_request_has_a_deadline_too(address: Address) -> None:
    received, _ = talk(address, HEALTH, b"GET /heal", pause=0.1)
    assert received.count(b"HTTP/1.1 200") == 1


def test_requests_on_one_connection_are_all_answered(address: Address) -> None:
    received, _ = talk(
        address, HEALTH * 3, HEALTH, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", pause=0.1
    )
    assert received.count(b"HTTP/1.1 200") == 5


@pytest.mark.parametrize("head", [b"GET /healthz HTTP/1.1\r\nX: ", b"GET /"])
def test_a_head_without_end_is_431(address: Address, head: bytes) -> None:
    received, _ = talk(address, head + b"x" * (HEAD_BYTES + 1))
    assert read_error(received) == (
        431,
        {"code": "head_too_large", "message": "the request's head exceeds 65536 bytes"},
    )


@pytest.mark.parametrize("headers", [HEADERS, HEADERS + 1])
def test_a_head_has_a_limited_number_of_headers(address: Address, headers: int) -> None:
    """Sixteen thousand empty ones took 2 MB, and 30 ms of the event loop."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"a:\r\n" * (headers - 2) + b"\r\n"
    received, _ = talk(address, head)
    if headers <= HEADERS:
        assert received.startswith(b"HTTP/1.1 200")
    else:
        assert read_error(received) == (
            431,
            {"code": "head_too_large", "message": f"the request has more than {HEADERS} headers"},
        )


@pytest.mark.parametrize("trailers", [HEADERS, HEADERS + 1])
def test_a_request_has_a_limited_number_of_trailers(address: Address, trailers: int) -> None:
    request = b"POST /v1/predict" + CHUNKED + b"1\r\nx\r\n0\r\n"
    received, _ = talk(address, request + b"a:\r\n" * trailers + b"\r\n")
    assert read_error(received)[0] == (415 if trailers <= HEADERS else 431)


@pytest.mark.parametrize("size", [HEAD_BYTES - 100, HEAD_BYTES + 1])
def test_the_size_of_a_head_is_exact_however_it_arrives(address: Address, size: int) -> None:
    head = b"POST /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 900\r\nX: %b\r\n\r\n" % (
        b"x" * size
    )
    received, _ = talk(address, head + b"y" * 900)
    assert received.startswith(b"HTTP/1.1 431" if size > HEAD_BYTES else b"HTTP/1.1 405")


def is_closed_within(client: socket.socket, piece: bytes, times: int) -> bool:
    """Send a piece until the server closes the connection."""
    try:
        for _ in range(times):
            client.sendall(piece)
            time.sleep(0.01)
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


CHUNKED = b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "trailers": (b"0\r\n", b"a: b\r\n"),
    "one trailer": (b"0\r\na: ", b"b"),
    "the name of a trailer": (b"0\r\n", b"b"),
    "the frame of a chunk": (b"5;x=", b"y"),
    "the size of a chunk": (b"", b"0"),
}


@pytest.mark.parametrize("request_line", [b"GET /healthz", b"POST /v1/predict"])
@pytest.mark.parametrize("kind", ENDLESS)
def test_what_is_neither_head_nor_body_has_the_size_of_a_head(address: Address, kind: str, request_line: bytes) -> None:
    start, piece = ENDLESS[kind]
    with closing(socket.create_connection(address, timeout=20)) as client:
        client.sendall(request_line + CHUNKED + start)
        assert is_closed_within(client, piece * (65536 // len(piece)), 64)


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_is_neither_head_nor_body_has_the_time_of_a_head(address: Address, kind: str) -> None:
    start, piece = ENDLESS[kind]
    received, seconds = talk(address, b"GET /healthz" + CHUNKED + start, *[piece] * 20, pause=0.1)
    assert received.count(b"HTTP/1.1 200") == 1 and SECONDS / 2 < seconds < 2.5


def test_trailers_that_are_late_are_504(address: Address) -> None:
    received, _ = talk(address, b"POST /v1/predict" + CHUNKED + b"0\r\n", b"a", b": b", pause=0.2)
    status, error = read_error(received)
    assert (status, error["code"]) == (504, "deadline")


def test_trailers_are_not_headers(address: Address) -> None:
    request = b"GET /healthz" + CHUNKED + b"0\r\nX-Request-Id: of-a-trailer\r\nConnection: close\r\n\r\n"
    received, _ = talk(address, request)
    assert received.startswith(b"HTTP/1.1 200") and b"of-a-trailer" not in received


def test_a_long_body_of_tiny_chunks_is_no_head(classifier: Classifier) -> None:
    body = b"1\r\nx\r\n" * 100_000
    with serve_in_thread(create_app([classifier], Settings())) as address:
        received, _ = talk(address, b"POST /v1/predict" + CHUNKED, body, b"0\r\n\r\n")
    assert read_error(received)[0] == 415


@pytest.mark.parametrize("offer", ["h2c", "TLS/1.2", "websocket", "a, b"])
@pytest.mark.parametrize("pieces", [1, 2, 400])
def test_an_offered_upgrade_is_ignored(address: Address, offer: str, pieces: int) -> None:
    request = post(
        "/v1/predict", png(), f"Upgrade: {offer}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAA"
    )
    cut = request.index(b"\r\n\r\n") + 4 if pieces == 2 else -(-len(request) // pieces)
    received, _ = talk(address, *(request[i : i + cut] for i in range(0, len(request), cut)))
    assert received.startswith(b"HTTP/1.1 200")


def test_an_offered_upgrade_is_ignored_in_each_request_of_a_connection(address: Address) -> None:
    offer = b"\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
    chunked = (
        b"POST /v1/predict HTTP/1.1"
        + offer
        + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(png()), png())
    )
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received, _ = talk(address, b"GET /healthz HTTP/1.1" + offer + b"\r\n" + chunked * 2 + last)
    assert received.count(b"HTTP/1.1 200") == 4


def test_a_body_that_trickles_behind_its_answer_is_cut_off(address: Address) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
    received, seconds = talk(address, request, *[b"x"] * 20, pause=0.1)
    assert received.count(b"HTTP/1.1 200") == 1 and SECONDS / 2 < seconds < 2.5


def test_a_body_that_ends_behind_its_answer_leaves_the_connection_in_use(address: Address) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    received, seconds = talk(address, request, b"body", HEALTH, pause=0.1)
    assert received.count(b"HTTP/1.1 200") == 2 and seconds < 3  # closed after the keep-alive


def test_an_idle_connection_is_kept_alive_longer_than_a_head_may_take(address: Address) -> None:
    received, _ = talk(address, HEALTH, HEALTH, pause=2 * SECONDS)
    assert received.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(("size", "stays"), [(15 << 20, True), (17 << 20, False)])
def test_the_answer_to_a_body_that_is_too_large_is_readable(classifier: Classifier, size: int, stays: bool) -> None:
    settings = Settings(max_body_bytes=8 << 20)
    with (
        serve_in_thread(create_app([classifier], settings)) as address,
        closing(socket.create_connection(address)) as client,
    ):
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        if stays:
            client.sendall(bytes(size))
        else:
            assert b"connection: close" in client.recv(65536)
            return
        client.sendall(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = receive_all(client)
        assert received.startswith(b"HTTP/1.1 413") and b"HTTP/1.1 200" in received


def test_a_body_without_end_behind_its_answer_is_bounded(address: Address) -> None:
    with closing(socket.create_connection(address, timeout=20)) as client:
        client.sendall(b"GET /healthz" + CHUNKED)
        assert is_closed_within(client, b"200\r\n%b\r\n" % bytes(512), 20)


def test_a_body_that_waits_for_its_turn_is_bounded() -> None:
    """The stream before it looks for the client's leave, and thereby lets uvicorn receive more and more."""
    app = FastAPI()

    @app.get("/stream")
    async def stream(request: Request) -> StreamingResponse:
        async def endless() -> AsyncIterator[str]:
            while not await request.is_disconnected():
                yield "more"
                await asyncio.sleep(0.001)

        return StreamingResponse(endless())

    with serve_in_thread(app) as address, closing(socket.create_connection(address, timeout=20)) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\nPOST /" + CHUNKED)
        assert is_closed_within(client, b"ffff\r\n%b\r\n" % bytes(65535), 400)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nsome",
        b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
    ],
)
def test_a_client_that_leaves_is_one_line_at_debug_level(
    address: Address, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "uvicorn.error"):
        with closing(socket.create_connection(address)) as client:
            client.sendall(request_bytes)
            time.sleep(0.05)
        time.sleep(0.2)
    lines = [record for record in caplog.records if record.name == "uvicorn.error"]
    assert [(line.levelname, line.exc_info) for line in lines] == [("DEBUG", None)]
    assert "left before its answer" in lines[0].getMessage()


def test_a_missing_body_is_504(address: Address) -> None:
    received, seconds = talk(address, b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n", b"some")
    assert received.startswith(b"HTTP/1.1 504") and seconds > SECONDS / 2


def test_a_client_that_leaves_costs_no_forward(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, began, forwards, forward = threading.Event(), threading.Event(), [], Classifier.forward

    def held(self: Classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        began.set()
        gate.wait()
        forwards.append(len(images))
        return forward(self, images)

    request = post("/v1/predict", png())
    monkeypatch.setattr(Classifier, "forward", held)
    with ThreadPoolExecutor() as pool, opened_at_the_end(gate):
        stays = pool.submit(talk, address, request)
        assert began.wait(10)
        with closing(socket.create_connection(address)) as leaves:
            leaves.sendall(request)
            wait_for(address, b'tencrop_queue_images{model="caltech101"} 1.0')
        wait_for(
            address, b'tencrop_admitted_images{model="caltech101"} 1.0'
        )  # the client's place is free before any forward pass ends
        gate.set()
        assert stays.result()[0].startswith(b"HTTP/1.1 200")
    wait_for(address, b'tencrop_queue_images{model="caltech101"} 0.0')
    assert forwards == [1]


@contextmanager
def opened_at_the_end(gate: threading.Event) -> Iterator[None]:
    """Open the gate, however the test ends."""
    try:
        yield
    finally:
        gate.set()


def metrics(address: Address) -> bytes:
    return talk(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0]


def wait_for(address: Address, line: bytes) -> None:
    """Wait until the metrics hold this line."""
    due = time.monotonic() + 10
    while line not in metrics(address):
        assert time.monotonic() < due
        time.sleep(0.01)


def test_a_body_that_is_late_takes_no_place(address: Address) -> None:
    with closing(socket.create_connection(address)) as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nsome")
        time.sleep(SECONDS / 3)
        assert b'tencrop_admitted_images{model="caltech101"} 0.0' in metrics(address)
        assert slow.recv(65536).startswith(b"HTTP/1.1 504")  # the client stayed until its 504


def test_a_body_counts_as_what_it_inflates_to(address: Address) -> None:
    small = gzip.compress(bytes(900))
    request = b"POST /v2/models/caltech101/infer HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nConnection: close\r\n"
    request += b"Content-Length: %d\r\n\r\n%s" % (len(small), small)
    with closing(socket.create_connection(address)) as first:
        first.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + b"x" * 899)
        time.sleep(0.05)
        assert talk(address, request)[0].startswith(b"HTTP/1.1 429")
        while first.recv(65536):
            pass
    assert talk(address, request)[0].startswith(b"HTTP/1.1 400")  # zeros are no JSON


def test_all_bodies_together_are_bounded(address: Address) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
    with closing(socket.create_connection(address)) as first:
        first.sendall(head + b"x" * 899)  # held for its deadline
        time.sleep(0.05)
        received, _ = talk(address, head + b"y" * 900)
        assert received.startswith(b"HTTP/1.1 429")
        while first.recv(65536):  # the answer of the first request
            pass
    received, _ = talk(address, head + b"y" * 900)
    assert received.startswith(b"HTTP/1.1 415")
