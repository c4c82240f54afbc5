"""Measures how much a running validation slows down predictions: seconds per request with and without it.

python -m bench.beside --images FOLDER [--rate 5] [--seconds 30] [--rounds 3]

Requests arrive at random, RATE a second, whether or not earlier ones are answered. Each round measures first without a
validation, then with one.
"""

import argparse
import json
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.machine import describe_machine
from bench.startup import started
from bench.validation import link_dataset
from tencrop.images.file_name import is_image
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

JOB = 100_000  # images of the validation: more than the server can evaluate while it is measured
SENDERS = 64  # threads that send requests
ALONE, BESIDE = "alone", "beside a validation"


def main() -> None:
    """Print p50 and p99 of the requests in both situations, and the validation's speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs of typical sizes")
    parser.add_argument("--rate", type=float, default=5, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30, help="with and without the validation, in each round")
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure")
    options = parser.parse_args()
    photos = sorted(path for path in options.images.rglob("*") if is_image(path.name))
    print(f"{describe_machine()}; {options.rate:g} requests a second")
    with TemporaryDirectory() as scratch:
        link_dataset(photos, open_classifier(EMBEDDED, EngineOptions()), JOB, Path(scratch) / "data")
        with started(["--data-root", scratch, "--state-dir", f"{scratch}/state"]) as (_, address, _):
            found = measure(address, [path.read_bytes() for path in photos], options)
    for name, seconds in found.items():
        p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
        print(f"{name}: p50 {p50:.0f} ms, p99 {p99:.0f} ms, largest {max(seconds) * 1e3:.0f} ms, of {len(seconds)}")


def measure(address: str, bodies: Sequence[bytes], options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every request, by ALONE and BESIDE."""
    found: dict[str, list[float]] = {ALONE: [], BESIDE: []}
    for number in range(options.rounds):
        found[ALONE] += time_requests(address, bodies, options.rate, options.seconds, number)
        job = (
            f"{address}/v1/validations/" + request_json(f"{address}/v1/validations", "POST", {"dataset": "data"})["id"]
        )
        while not (before := request_json(job)["images"]):
            time.sleep(0.1)
        began = time.monotonic()
        found[BESIDE] += time_requests(address, bodies, options.rate, options.seconds, number)
        speed = (request_json(job)["images"] - before) / (time.monotonic() - began)
        print(f"round {number + 1}: the validation ran at {speed:.1f} images/s meanwhile", flush=True)
        request_json(job, "DELETE")
    return found


def time_requests(address: str, bodies: Sequence[bytes], rate: float, seconds: float, seed: int) -> list[float]:
    """Send requests at random times -> for each, the seconds from when it was due to its answer."""
    random = np.random.default_rng(seed)
    due = np.cumsum(random.exponential(1 / rate, round(rate * seconds)))
    began = time.monotonic()

    def send(moment: float, body: bytes) -> float:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        urllib.request.urlopen(f"{address}/v1/predict", body, timeout=60).read()
        return time.monotonic() - began - moment

    with ThreadPoolExecutor(SENDERS) as pool:
        return list(pool.map(send, due, cycle(bodies)))


def request_json(url: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
    """The JSON of the answer; None for an empty answer."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read() or b"null")


if __name__ == "__main__":
    main()
