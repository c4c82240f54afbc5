"""Measures what `tencrop serve` costs without its net: requests/s and CPU time, by the number of worker processes.

python -m bench.doors [--workers 0 1 2 4] [--clients 16] [--seconds 3] [--rounds 3]

The model is bench/doors/null_model.py, on onnxruntime, whose forward pass of it costs least. In each round a new server
for each number of workers answers each photograph of bench/doors/photographs.py in a closed loop of clients. The
figures are medians of the rounds.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.doors.null_model import write_null_model
from bench.doors.photographs import PHOTOGRAPHS
from bench.doors.processes import find_engine, read_cpu_seconds
from bench.machine import describe_machine
from bench.serving.client import Load, compile_client, run_load
from bench.serving.post import write_requests
from bench.serving.process import ProcessTree, exit_at_sigterm, find_free_port, run_server
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.images.decode import decode
from tencrop.model.tencropfile import TenCropFile

SEEDS = range(4)  # different photographs of each size
DECODING = 1.0  # least seconds to measure the decoder
WARM_UP = 1.0  # seconds of load before the measured ones

HEAD = ("request", "workers", "requests/s", "CPU", "beyond decoding", "engine", "each process", "load generator")


class Figures(NamedTuple):
    """One load. CPU times are of all answers, in milliseconds a request."""

    requests_per_s: float
    by_process: tuple[float, ...]  # the engine's first, then from the most to the least
    client_core: float  # the load generator's share of a core


def main() -> None:
    """Measure and print the table; an error is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4], help="numbers of worker processes")
    parser.add_argument("--clients", type=int, default=16, help="that each wait for their answer")
    parser.add_argument("--seconds", type=float, default=3, help="for each load, after its warm-up")
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure")
    options = parser.parse_args()
    exit_at_sigterm()
    try:
        with TemporaryDirectory() as scratch:
            print(measure(options, Path(scratch)))
    except (BadInput, WorkFailed) as error:
        sys.exit(str(error))


def measure(options: argparse.Namespace, scratch: Path) -> str:
    """The table of every photograph and number of workers."""
    model, client = write_null_model(scratch), compile_client(scratch)
    encoded = {name: [photograph.encode(seed) for seed in SEEDS] for name, photograph in PHOTOGRAPHS.items()}
    requests = {name: write_requests(images, scratch / name.split(",")[0]) for name, images in encoded.items()}
    decoding = {name: measure_decoding(model, images) for name, images in encoded.items()}
    found: dict[tuple[str, int], list[Figures]] = defaultdict(list)
    for _ in range(options.rounds):
        for workers in options.workers:
            port = find_free_port()
            first = requests["256x256"][0].read_bytes()
            with run_server(_command(model, port, workers), {}, scratch / "log", port, first) as tree:
                for name, files in requests.items():
                    load = Load("clients", options.clients)
                    found[name, workers].append(measure_load(client, port, load, options.seconds, files, tree))
    sizes = ", ".join(f"{name}: {statistics.mean(map(len, images)) / 1000:.0f} kB" for name, images in encoded.items())
    head = f"{describe_machine()}; {options.clients} clients; {options.seconds:g} s each, rounds: {options.rounds}"
    return f"{head}\n{sizes}\n\n{render_table(found, decoding)}"


def measure_decoding(model: Path, images: Sequence[bytes]) -> float:
    """CPU milliseconds to decode and resize one image, in this process, where nothing else runs."""
    contract = TenCropFile.read(model).metadata.contract
    started, done = time.process_time(), 0
    while time.process_time() - started < DECODING:
        decode(images[done % len(images)], contract)
        done += 1
    return 1e3 * (time.process_time() - started) / done


def measure_load(
    client: Path, port: int, load: Load, seconds: float, requests: Sequence[Path], tree: ProcessTree
) -> Figures:
    """Warm the server up, then measure a load. Raises WorkFailed where an answer is an error."""
    run_load(client, port, load, WARM_UP, requests)
    before = read_cpu_seconds(tree)
    figures = run_load(client, port, load, seconds, requests)
    after = read_cpu_seconds(tree)
    if figures.failed or figures.refused:
        raise WorkFailed(f"{figures.failed + figures.refused} of {figures.offered} answers are errors")
    used = {process: 1e3 * (after[process] - before.get(process, 0.0)) / figures.answered for process in after}
    engine = used.pop(find_engine(tree))
    return Figures(figures.images_per_s, (engine, *sorted(used.values(), reverse=True)), figures.client_core)


def render_table(found: Mapping[tuple[str, int], Sequence[Figures]], decoding: Mapping[str, float]) -> str:
    """Markdown: a row for each photograph and number of workers. decoding: CPU milliseconds of a photograph."""
    lines = [_row(HEAD), "|---" * len(HEAD) + "|"]
    for (name, workers), rounds in found.items():
        cpu = statistics.median(sum(each.by_process) for each in rounds)
        engine = statistics.median(each.by_process[0] for each in rounds)
        lines.append(
            _row(
                [
                    name,
                    f"{workers}",
                    f"{statistics.median(each.requests_per_s for each in rounds):.1f}",
                    f"{cpu:.2f} ms",
                    f"{cpu - decoding[name]:.2f} ms",
                    f"{1e3 * engine:.0f} us" if workers else "",
                    ", ".join(f"{value:.2f}" for value in rounds[-1].by_process),
                    f"{100 * statistics.median(each.client_core for each in rounds):.1f} %",
                ]
            )
        )
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _command(model: Path, port: int, workers: int) -> list[str]:
    numbers = ["--workers", str(workers), "--port", str(port)]
    return [sys.executable, "-m", "tencrop", "serve", str(model), "--engine", "onnxruntime", *numbers]


if __name__ == "__main__":
    main()
