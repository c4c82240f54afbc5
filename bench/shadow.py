"""Measures how much a shadow slows down predictions: p99 at half of the capacity, with and without it.

python -m bench.shadow (--images FOLDER | --null) [--seconds 30] [--closed 4] [--rounds 1] [--workers N]

Each round measures a server without a shadow, one with a shadow of the same model, and one without again. Each answers
a closed loop of clients for --closed seconds. Then requests come at random, whether or not earlier ones are answered,
at half of the images/s of the first closed loop. --null serves the model and photographs of bench.doors.
"""

import argparse
import json
import statistics
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.doors.null_model import write_null_model
from bench.doors.photographs import PHOTOGRAPHS
from bench.machine import describe_machine
from bench.serving.client import Figures, Load, compile_client, run_load
from bench.serving.measure import choose_seconds
from bench.serving.post import find_rgb_jpegs, write_requests
from bench.serving.process import exit_at_sigterm, find_free_port, run_server
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.model.embedded import EMBEDDED

CLIENTS = 16
SHARE = 0.5  # of the capacity
LONGEST = 60.0  # seconds of an open loop whose p99 needs more than --seconds
ALONE, BESIDE = "alone", "beside a shadow"


def main() -> None:
    """Measure and print; an error is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    photographs = parser.add_mutually_exclusive_group(required=True)
    photographs.add_argument("--images", type=Path, help="a folder of photographs of typical sizes")
    photographs.add_argument("--null", action="store_true", help="a model that answers at once")
    parser.add_argument("--seconds", type=float, default=30, help="of each open loop")
    parser.add_argument("--closed", type=float, default=4, help="seconds of each closed loop")
    parser.add_argument("--rounds", type=int, default=1, help="how often to measure")
    parser.add_argument("--workers", type=int, default=0, help="processes that take requests")
    options = parser.parse_args()
    exit_at_sigterm()
    try:
        with TemporaryDirectory() as scratch:
            print(measure(options, Path(scratch)))
    except (BadInput, WorkFailed) as error:
        sys.exit(str(error))


def measure(options: argparse.Namespace, scratch: Path) -> str:
    """The lines of both situations."""
    client = compile_client(scratch)
    model = write_null_model(scratch) if options.null else EMBEDDED
    requests = write_requests(read_photographs(options.images), scratch / "requests")
    found: dict[str, list[tuple[Figures, Figures]]] = defaultdict(list)
    rate = 0.0
    for name in (ALONE, BESIDE, ALONE) * options.rounds:
        port = find_free_port()
        arguments = [str(model), "--port", str(port), "--workers", str(options.workers)]
        if name == BESIDE:
            arguments += ["--shadow", f"old={model}"]
        command = [sys.executable, "-m", "tencrop", "serve", *arguments]
        with run_server(command, {}, scratch / "log", port, requests[0].read_bytes()):
            closed = run_load(client, port, Load("clients", CLIENTS), options.closed, requests)
            rate = rate or SHARE * closed.images_per_s
            seconds = choose_seconds(rate, options.seconds, LONGEST)
            opened = run_load(client, port, Load("rate", rate), seconds, requests)
            compared = describe_shadow(port) if name == BESIDE else ""
        print(f"{name}: {describe(closed, opened)}{compared}", file=sys.stderr)
        found[name].append((closed, opened))
    return f"{describe_machine()}; {rate:.1f} requests/s\n" + render(found)


def read_photographs(folder: Path | None) -> list[bytes]:
    """The RGB JPEGs of a folder; without one, four photographs of 500x375 of bench.doors."""
    if folder:
        return [path.read_bytes() for path in find_rgb_jpegs(folder)[0]]
    return [PHOTOGRAPHS["500x375, as ImageNet's"].encode(seed) for seed in range(4)]


def describe_shadow(port: int) -> str:
    """The numbers of answers that the server's shadow has compared and dropped."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/shadow", timeout=60) as reply:
        found = json.load(reply)
    return f"; compared {found['compared']}, dropped {found['dropped']}, disagreements {found['disagreements']}"


def describe(closed: Figures, opened: Figures) -> str:
    """One server's figures."""
    p99 = f"p50 {opened.p50:.1f} ms, p99 {opened.p99:.1f} ms of {opened.good} answers, {opened.refused} refused"
    return f"{closed.images_per_s:.1f} images/s of {CLIENTS} clients; {p99}"


def render(found: Mapping[str, Sequence[tuple[Figures, Figures]]]) -> str:
    """The medians of both situations, and what the shadow adds to the p99."""
    p99 = {name: statistics.median(opened.p99 for _, opened in each) for name, each in found.items()}
    speed = {name: statistics.median(closed.images_per_s for closed, _ in each) for name, each in found.items()}
    lines = [f"{name}: {speed[name]:.1f} images/s, p99 {p99[name]:.1f} ms" for name in found]
    return "\n".join([*lines, f"the shadow adds {p99[BESIDE] / p99[ALONE] - 1:.1%} to the p99"])


if __name__ == "__main__":
    main()
