"""Slow, silent and malformed clients on real sockets: their connections are closed, and others are answered."""

import asyncio
import gzip
import io
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import numpy as np
import pytest
import uvicorn
from PIL import Image

from tencrop.runtime.classifier import Classifier
from tencrop.server import head_limits
from tencrop.server.app import create_app
from tencrop.server.head_limits import HEAD_BYTES, HeadLimits
from tencrop.server.settings import Settings

SECONDS = 0.3  # the head's deadline here
READY = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def address(classifier: Classifier) -> Iterator[tuple[str, int]]:
    """A server in a thread of this process, with a short deadline for heads."""
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as listening:
        patch.setattr(head_limits, "HEAD_SECONDS", SECONDS)
        app = create_app([classifier], Settings(body_seconds=SECONDS, max_body_bytes=1000, max_bodies_bytes=1500))
        server = uvicorn.Server(
            uvicorn.Config(app, http=HeadLimits, ws="none", log_level="error", timeout_keep_alive=60)
        )
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        yield listening.getsockname()
        server.should_exit = True
        thread.join()


def talk(address: tuple[str, int], *parts: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """Send the parts with pauses between them -> the bytes until the server closes, and the seconds until then."""
    started = time.monotonic()
    with closing(socket.create_connection(address, timeout=20)) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionResetError:
            pass
    return received, time.monotonic() - started


@pytest.mark.parametrize("begun", [(), (b"GET /healthz HTTP/1.1\r\nHost: x\r\n",), (b"\r\n",), (b"G", b"E", b"T")])
def test_a_missing_head_is_cut_off(address: tuple[str, int], begun: tuple[bytes, ...]) -> None:
    received, seconds = talk(address, *begun, pause=0.1)
    assert received == b"" and seconds >= SECONDS


def test_a_head_that_arrives_byte_by_byte_is_cut_off(address: tuple[str, int]) -> None:
    received, _ = talk(address, *(bytes([byte]) for byte in READY), pause=0.05)
    assert received == b""


def test_the_head_of_a_later_request_has_a_deadline_too(address: tuple[str, int]) -> None:
    received, _ = talk(address, READY, b"GET /heal", pause=0.1)
    assert received.count(b"HTTP/1.1 200") == 1


def test_requests_on_one_connection_are_all_answered(address: tuple[str, int]) -> None:
    received, _ = talk(
        address, READY * 3, READY, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", pause=0.1
    )
    assert received.count(b"HTTP/1.1 200") == 5


@pytest.mark.parametrize("head", [b"GET /healthz HTTP/1.1\r\nX: ", b"GET /"])
def test_a_head_without_end_is_431(address: tuple[str, int], head: bytes) -> None:
    received, _ = talk(address, head + b"x" * (HEAD_BYTES + 1))
    assert received.startswith(b"HTTP/1.1 431")


def test_bytes_that_are_not_http_are_400(address: tuple[str, int]) -> None:
    received, _ = talk(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400")


def test_a_missing_body_is_504(address: tuple[str, int]) -> None:
    received, seconds = talk(address, b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n", b"some")
    assert received.startswith(b"HTTP/1.1 504") and seconds >= SECONDS


def test_a_client_that_leaves_costs_no_forward(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    gate, began, forwards, forward = threading.Event(), threading.Event(), [], Classifier.forward

    def held(self: Classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        began.set()
        gate.wait()
        forwards.append(len(images))
        return forward(self, images)

    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, "PNG")
    body = small.getvalue()
    request = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
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


def metrics(address: tuple[str, int]) -> bytes:
    return talk(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0]


def wait_for(address: tuple[str, int], line: bytes) -> None:
    """Wait until the metrics hold this line."""
    due = time.monotonic() + 10
    while line not in metrics(address):
        assert time.monotonic() < due
        time.sleep(0.01)


def test_a_body_that_is_late_takes_no_place(address: tuple[str, int]) -> None:
    with closing(socket.create_connection(address)) as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nsome")
        time.sleep(SECONDS / 3)
        assert b'tencrop_admitted_images{model="caltech101"} 0.0' in metrics(address)
        assert slow.recv(65536).startswith(b"HTTP/1.1 504")  # the client stayed until its 504


def test_a_body_counts_as_what_it_inflates_to(address: tuple[str, int]) -> None:
    small = gzip.compress(bytes(900))
    request = b"POST /v2/models/caltech101/infer HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nConnection: close\r\n"
    request += b"Content-Length: %d\r\n\r\n%s" % (len(small), small)
    with closing(socket.create_connection(address)) as first:
        first.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + b"x" * 899)
        time.sleep(0.05)
        assert talk(address, request)[0].startswith(b"HTTP/1.1 429")
        while first.recv(65536):
            pass
    assert talk(address, request)[0].startswith(b"HTTP/1.1 422")  # zeros are no JSON


def test_all_bodies_together_are_bounded(address: tuple[str, int]) -> None:
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
