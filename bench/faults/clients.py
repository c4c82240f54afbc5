"""The faults: each function is one attempt of one client, which returns its outcome."""

import io
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import cache
from types import MappingProxyType

from PIL import Image

from bench.expensive_images import FORM, animation, form, scans

HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
LONG = 30_000  # characters of a path
LARGE = 7000  # pixels per side of a PNG of one colour

Fault = Callable[[str, list[bytes], threading.Event], object]  # address, photographs, stop event -> outcome


def wait(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    stopped.wait()
    return "nothing"


def flood(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, photos[int(time.monotonic() * 1e6) % len(photos)])


def ask_for_long_paths(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    """Ask for a path that the log of the requests repeats."""
    return call(f"{address}/{'x' * LONG}")[0]


def send_half_image(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, photos[0][: len(photos[0]) // 2])


def send_large_png(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, large_png())


def send_scans(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, scans())


def send_form_of_animations(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, form([animation()] * 60), "/v1/predict/batch", FORM)


def send_and_leave(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    with closing(connect(address)) as connection:
        connection.sendall(request_head(len(photos[0])) + photos[0])
    return "left"


def send_head_slowly(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return send_slowly(address, b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1000, stopped)


def send_body_slowly(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return send_slowly(address, photos[0], stopped, request_head(len(photos[0])))


def send_trailers(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    with closing(connect(address)) as connection, suppress(OSError):
        connection.sendall(HEALTHZ + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
        while not stopped.is_set():
            connection.sendall(b"a: b\r\n" * 10_000)
        return "still sending"
    return "cut off"


def send_behind_the_answer(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return send_slowly(address, photos[0], stopped, HEALTHZ + b"Content-Length: %d\r\n\r\n" % len(photos[0]))


def send_and_never_read(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    with closing(connect(address)) as connection, suppress(OSError):
        connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        while not stopped.wait(1):
            connection.sendall(b"\r\n")
        return "still waiting"
    return "cut off"


def send_slowly(address: str, data: bytes, stopped: threading.Event, first: bytes = b"") -> object:
    """Send `first` at once, then two bytes of `data` a second."""
    with closing(connect(address)) as connection, suppress(OSError):
        connection.sendall(first)
        for byte in data:
            connection.sendall(bytes([byte]))
            if stopped.wait(0.5):
                return "still sending"
    return "cut off"


def post(address: str, body: bytes, path: str = "/v1/predict", headers: Mapping[str, str] = NO_HEADERS) -> int:
    """Send one photograph, or another body; return the status."""
    return call(address + path, body, headers)[0]


def call(
    url: str, body: bytes | None = None, headers: Mapping[str, str] = NO_HEADERS, method: str | None = None
) -> tuple[int, bytes]:
    """Send a request, by default a POST where it has a body; return status and body of the answer."""
    try:
        request = urllib.request.Request(url, body, dict(headers), method=method)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def connect(address: str) -> socket.socket:
    host, _, port = address.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def request_head(length: int) -> bytes:
    return b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length


@cache
def large_png() -> bytes:
    """49 megapixels in 150 kB."""
    packed = io.BytesIO()
    Image.new("RGB", (LARGE, LARGE), "teal").save(packed, "PNG")
    return packed.getvalue()


FAULTS: list[tuple[str, int, Fault]] = [
    ("none", 1, wait),
    ("clients that send requests without a pause", 48, flood),
    ("clients with images cut in half", 48, send_half_image),
    (f"clients with PNGs of {LARGE * LARGE / 1e6:.0f} megapixels", 4, send_large_png),
    ("clients with JPEGs of 8 megapixels and 64 scans in 4 kB", 16, send_scans),
    ("clients with forms of 60 animated WebPs of 8 megapixels", 16, send_form_of_animations),
    ("clients that send an image and leave", 16, send_and_leave),
    ("clients that send a head, two bytes a second", 200, send_head_slowly),
    ("clients that send a body, two bytes a second", 200, send_body_slowly),
    ("clients that send trailers without end", 16, send_trailers),
    ("clients that send a body behind its answer, two bytes a second", 200, send_behind_the_answer),
    ("clients that ask for 1.5 MB a hundred times and never read", 100, send_and_never_read),
]
