"""Images of a few bytes that cost seconds or 125 MB: whoever sends them, light requests are answered.

`python -m bench.faults` measures how soon.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest
from PIL import Image
from serving import run_server
from support.pictures import encode
from test_server_run import resident

from bench.expensive_images import FORM, SIDE, animation, form, scans

CONNECTIONS, ATTACK_SECONDS = 16, 4
MIB = 600  # at most


def damaged() -> bytes:
    """A PNG of 30 kB that ends too early, after some 8 megapixels of 4 bytes."""
    return encode(Image.new("RGBA", (SIDE, SIDE)), "PNG")[:-50]


def ask(address: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
    connection = HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()


def send_until(until: float, pause: float, send: Callable[[], int]) -> Counter[int]:
    """Send again and again; count the answers by their status."""
    statuses: Counter[int] = Counter()
    while time.monotonic() < until:
        statuses[send()] += 1
        time.sleep(pause)
    return statuses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "copies"),
    [(scans, 1), (scans, 20), (animation, 1), (animation, 60), (damaged, 60)],
    ids=["one of scans", "20 of scans", "one animation", "60 animations", "60 damaged"],
)
def test_light_requests_are_answered_while_one_address_sends_expensive_images(
    image: Callable[[], bytes], copies: int, photographs: dict[str, Path]
) -> None:
    """The light client has the address of the 16 attacking connections, as clients behind one proxy may have."""
    body, photo = form([image()] * copies), photographs["china"].read_bytes()
    assert len(body) < 2_000_000
    with run_server() as (process, url), ThreadPoolExecutor(CONNECTIONS + 2) as pool:
        address = url.removeprefix("http://")
        until = time.monotonic() + ATTACK_SECONDS
        for _ in range(CONNECTIONS):
            pool.submit(send_until, until, 0.05, lambda: ask(address, "POST", "/v1/predict/batch", body, FORM))
        light = pool.submit(send_until, until, 0.3, lambda: ask(address, "POST", "/v1/predict", photo))
        health = pool.submit(send_until, until, 0.1, lambda: ask(address, "GET", "/healthz"))
        assert set(light.result()) == {200}
        assert set(health.result()) == {200}
        assert resident(process, "VmHWM") < MIB
        process.kill()  # the attackers need not wait for their answers
