"""Serves an application in a thread of this process, and talks to it over real sockets, for tests of the protocol."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from tencrop.server.connection import Connection

Address = tuple[str, int]

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def serve_in_thread(app: FastAPI, **options: Any) -> Iterator[Address]:
    """Serve on a free port and yield the address. `options` are uvicorn's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            app, http=Connection, ws="none", log_config=None, **{"timeout_keep_alive": 1, **options}
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=[[listening]])
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join()


def talk(address: Address, *parts: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """Send the parts with pauses between them -> the bytes until the server closes, and the seconds until then."""
    started = time.monotonic()
    with closing(socket.create_connection(address, timeout=20)) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return receive_all(connection), time.monotonic() - started


def receive_all(connection: socket.socket) -> bytes:
    """The bytes until the server closes or resets the connection."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A POST request, as bytes. The server closes the connection after its answer."""
    head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def read_error(answer: bytes) -> tuple[int, Any]:
    """The status and the error object of the last answer."""
    head, _, body = answer[answer.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    return int(head.split()[1]), json.loads(body)["error"]
