"""Images of a few bytes that cost seconds or 125 MB: whoever sends them, light requests are answered in time."""

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

from tencrop.images.jpeg_segments import EOI
from tencrop.images.limits import MAX_SCANS

CONNECTIONS, ATTACK_SECONDS = 16, 6
LIGHT_SECONDS, HEALTH_SECONDS, MIB = 3, 0.5, 600  # at most
FORM = {"Content-Type": "multipart/form-data; boundary=B"}

# 2816x2816 grey by `cjpeg -arithmetic -progressive`: the first two scans
TWO_SCANS = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f13201513121213271c1e17202e2931302e"
    "292d2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a51524fffca000b080b000b0001011100ffcc00040010ffda0008"
    "0101000000004bc6ffcc00041005ffda0008010100013f004bc6000000000001dcdc8013ba82b17800099ac0000235f80002786000000595"
    "a00136bb7f8d6e5ff172b559f870005aa60621425517d4"
)
SECOND_SCAN = 126


def scans() -> bytes:
    """A JPEG of 4 kB, with 64 scans and just under 8 megapixels, that takes more than a second of a core."""
    return TWO_SCANS + TWO_SCANS[SECOND_SCAN:] * (MAX_SCANS - 2) + EOI


def animation() -> bytes:
    """A WebP of 140 bytes whose canvas takes 125 MB while it is decoded."""
    frames = [Image.new("RGB", (2820, 2820), colour) for colour in range(2)]
    return encode(frames[0], "WEBP", lossless=True, save_all=True, append_images=frames[1:])


def damaged() -> bytes:
    """A PNG of 30 kB that ends too early, after some 8 megapixels of 4 bytes."""
    return encode(Image.new("RGBA", (2820, 2820)), "PNG")[:-50]


def form(image: bytes, copies: int) -> bytes:
    part = b'--B\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + image + b"\r\n"
    return part * copies + b"--B--\r\n"


def ask(address: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
    connection = HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()


def send_until(until: float, pause: float, send: Callable[[], int]) -> tuple[Counter[int], float]:
    """Send again and again: how many answers had each status, and the longest time to an answer."""
    statuses, slowest = Counter[int](), 0.0
    while (began := time.monotonic()) < until:
        statuses[send()] += 1
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(pause)
    return statuses, slowest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "copies"), [(scans, 1), (scans, 20), (animation, 1), (animation, 60), (damaged, 60)], ids=str
)
def test_light_requests_are_answered_while_one_address_sends_expensive_images(
    image: Callable[[], bytes], copies: int, photographs: dict[str, Path]
) -> None:
    """The light client has the address of the 16 attacking connections, as clients behind one proxy may have."""
    body, photo = form(image(), copies), photographs["china"].read_bytes()
    assert len(body) < 2_000_000
    with run_server() as (process, url), ThreadPoolExecutor(CONNECTIONS + 2) as pool:
        address = url.removeprefix("http://")
        until = time.monotonic() + ATTACK_SECONDS
        for _ in range(CONNECTIONS):
            pool.submit(send_until, until, 0.05, lambda: ask(address, "POST", "/v1/predict/batch", body, FORM))
        light = pool.submit(send_until, until, 0.3, lambda: ask(address, "POST", "/v1/predict", photo))
        health = pool.submit(send_until, until, 0.1, lambda: ask(address, "GET", "/healthz"))
        answers, slowest = light.result()
        assert set(answers) == {200} and slowest < LIGHT_SECONDS
        answers, slowest = health.result()
        assert set(answers) == {200} and slowest < HEALTH_SECONDS
        assert resident(process, "VmHWM") < MIB
        process.kill()  # the attackers need not wait for their answers
