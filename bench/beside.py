"""What a running validation costs those who ask: seconds of a light request with and without one, on one server.

python -m bench.beside --images FOLDER [--rate 5] [--seconds 30] [--rounds 3]

Requests come at random moments, RATE a second, whether or not others are answered. In turns: a while without a job, a while with one.
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

from bench.machine import machine
from bench.startup import started
from bench.validation import dealt
from tencrop.dataset.source import is_image
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

JOB = 100_000  # images of the validation: more than it can do while it is watched
SENDERS = 64


def main() -> None:
    """Print p50 and p99 of each while, and the validation's speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs, of the sizes to measure")
    parser.add_argument("--rate", type=float, default=5, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30, help="of a while")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    photos = sorted(path for path in options.images.rglob("*") if is_image(path.name))
    bodies = [path.read_bytes() for path in photos]
    print(f"{machine()}; {options.rate:g} requests a second")
    with TemporaryDirectory() as scratch:
        dealt(photos, open_classifier(EMBEDDED, EngineOptions()), JOB, Path(scratch) / "data")
        with started(["--data-root", scratch, "--state-dir", f"{scratch}/state"]) as (_, address, _):
            found: dict[str, list[float]] = {"alone": [], "beside a validation": []}
            for number in range(options.rounds):
                found["alone"] += asked(address, bodies, options.rate, options.seconds, number)
                job = call(f"{address}/v1/validations", "POST", {"dataset": "data"})["id"]
                while not call(f"{address}/v1/validations/{job}")["images"]:
                    time.sleep(0.1)
                before, began = call(f"{address}/v1/validations/{job}")["images"], time.monotonic()
                found["beside a validation"] += asked(address, bodies, options.rate, options.seconds, number)
                done = call(f"{address}/v1/validations/{job}")["images"] - before
                print(
                    f"round {number + 1}: the validation did {done / (time.monotonic() - began):.1f} images/s beside them",
                    flush=True,
                )
                call(f"{address}/v1/validations/{job}", "DELETE")
    for name, seconds in found.items():
        middle, late = np.percentile(seconds, (50, 99)) * 1e3
        print(f"{name}: p50 {middle:.0f} ms, p99 {late:.0f} ms, largest {max(seconds) * 1e3:.0f} ms, of {len(seconds)}")


def asked(address: str, bodies: Sequence[bytes], rate: float, seconds: float, seed: int) -> list[float]:
    """Seconds that each answer took, from the moment at which its request was due."""
    random = np.random.default_rng(seed)
    due = np.cumsum(random.exponential(1 / rate, round(rate * seconds)))
    began = time.monotonic()

    def ask(moment: float, body: bytes) -> float:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        urllib.request.urlopen(f"{address}/v1/predict", body, timeout=60).read()
        return time.monotonic() - began - moment

    with ThreadPoolExecutor(SENDERS) as pool:
        return list(pool.map(ask, due, cycle(bodies)))


def call(url: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
    """The JSON of an answer, None where it is empty."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read() or b"null")


if __name__ == "__main__":
    main()
