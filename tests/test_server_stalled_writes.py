"""A client that stops reading loses its connection; a client that reads slowly gets every byte."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from sockets import Address, receive_all, serve_in_thread

from tencrop.runtime.classifier import Classifier
from tencrop.server import stalled_writes
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

SECONDS = 0.5
REQUEST = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@pytest.fixture(scope="module")
def address(classifier: Classifier) -> Iterator[Address]:
    with pytest.MonkeyPatch.context() as patch, serve_in_thread(create_app([classifier], Settings())) as address:
        patch.setattr(stalled_writes, "WRITE_SECONDS", SECONDS)
        yield address


def connect(address: Address) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(address)
    return client


@pytest.mark.slow
@pytest.mark.parametrize("request_bytes", [REQUEST * 100, REQUEST * 20 + LAST])
def test_a_client_that_never_reads_is_cut_off(address: Address, request_bytes: bytes) -> None:
    with closing(connect(address)) as client:
        client.sendall(request_bytes)
        time.sleep(4 * SECONDS)
        received = receive_all(client)
    assert 0 < received.count(b"HTTP/1.1 200") < 20


@pytest.mark.slow
def test_a_client_that_reads_slowly_gets_every_byte(address: Address) -> None:
    with closing(connect(address)) as client:
        client.sendall(LAST)
        received, started = b"", time.monotonic()
        while data := client.recv(20_000):
            received += data
            time.sleep(0.02)
    assert time.monotonic() - started > 2 * SECONDS
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
