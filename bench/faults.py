"""Measures how long a well-behaved client waits while other clients misbehave: each fault in turn, on a real server.

python -m bench.faults --images FOLDER [--seconds 10]

The well-behaved client sends one photograph after another. GET /healthz is sent every 20 ms at the same time.
"""

import argparse
import io
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from bench.expensive_images import FORM, animation, form, scans
from bench.machine import describe_machine
from bench.startup import resident_mib, started
from tencrop.dataset.source import is_image

HEALTH = 0.02  # seconds between two probes
ASKING = 64  # clients that send requests when SIGTERM comes
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
LARGE = 7000  # pixels per side of a PNG of one colour

Fault = Callable[[str, list[bytes], threading.Event], object]  # address, photographs, stop event -> outcome


def main() -> None:
    """Print a row for each fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--seconds", type=float, default=10, help="for each fault")
    options = parser.parse_args()
    photos = [path.read_bytes() for path in sorted(options.images.rglob("*")) if is_image(path.name)]
    for encode in (large_png, scans, animation):
        encode()  # before a client needs it
    print(f"{describe_machine()}\n")
    print("| fault | light request, p50 | p99 | /healthz, p99 | memory | answers |\n|---|---|---|---|---|---|")
    with started([]) as (process, address, _):
        for name, count, fault in FAULTS:
            outcomes: Counter[object] = Counter()
            stopped = threading.Event()
            with run_clients(count, fault, address, photos, stopped, outcomes):
                light, health = measure_latency(address, photos[0], options.seconds)
            p50, p99, probe = (np.percentile(*each) * 1e3 for each in ((light, 50), (light, 99), (health, 99)))
            answers = ", ".join(f"{times} x {outcome}" for outcome, times in outcomes.most_common())
            row = (name if count == 1 else f"{count} {name}", f"{p50:.0f} ms", f"{p99:.0f} ms", f"{probe:.0f} ms")
            print("|", " | ".join((*row, f"{resident_mib(process, 'VmRSS'):.0f} MiB", answers)), "|", flush=True)
        print(f"\nPeak memory: {resident_mib(process, 'VmHWM'):.0f} MiB.")
        statuses, seconds, code = terminate(process, address, photos)
        print(
            f"SIGTERM while {ASKING} clients send requests: {dict(statuses)}; exit code {code} after {seconds:.2f} s."
        )


@contextmanager
def run_clients(
    count: int, fault: Fault, address: str, photos: list[bytes], stopped: threading.Event, outcomes: "Counter[object]"
) -> Iterator[None]:
    """Run `count` clients of a fault until the block ends; count their `outcomes`."""
    lock = threading.Lock()

    def client(number: int) -> None:
        while not stopped.is_set():
            outcome = fault(address, photos[number:] + photos[:number], stopped)
            with lock:
                outcomes[outcome] += 1

    with ThreadPoolExecutor(count) as pool:
        done = [pool.submit(client, number) for number in range(count)]
        yield
        stopped.set()
        for each in done:
            each.result()


def measure_latency(address: str, photo: bytes, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds of each light request, and of each /healthz probe."""
    light, health, until = [], [], time.monotonic() + seconds

    def probe() -> None:
        while time.monotonic() < until:
            health.append(time_call(partial(urllib.request.urlopen, f"{address}/healthz", timeout=60)))
            time.sleep(HEALTH)

    prober = threading.Thread(target=probe)
    prober.start()
    while time.monotonic() < until:
        light.append(time_call(partial(post, address, photo)))
    prober.join()
    return light, health


def time_call(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def post(address: str, body: bytes, path: str = "/v1/predict", headers: dict[str, str] | None = None) -> int:
    """Send one photograph, or another body; return the status."""
    try:
        request = urllib.request.Request(address + path, body, headers or {})
        with urllib.request.urlopen(request, timeout=60) as reply:
            reply.read()
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def terminate(
    process: subprocess.Popen[str], address: str, photos: Sequence[bytes]
) -> tuple["Counter[object]", float, int]:
    """Send SIGTERM while clients send requests: their outcomes, the seconds until the server ended, its exit code."""

    def ask(number: int) -> object:
        try:
            return post(address, photos[number % len(photos)])
        except OSError:
            return "no connection"  # the server had closed its socket already

    with ThreadPoolExecutor(ASKING) as pool:
        sent = [pool.submit(ask, number) for number in range(2 * ASKING)]
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        seconds = time_call(process.wait)
        return Counter(each.result() for each in sent), seconds, process.wait()


# ---- the faults: one attempt of one client, which returns its outcome


def wait(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    stopped.wait()
    return "nothing"


def flood(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, photos[int(time.monotonic() * 1e6) % len(photos)])


def send_half_image(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, photos[0][: len(photos[0]) // 2])


def send_large_png(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, large_png())


def send_scans(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, scans())


def send_form_of_animations(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, form(animation(), 60), "/v1/predict/batch", FORM)


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


if __name__ == "__main__":
    main()
