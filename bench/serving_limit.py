"""Compares the speed of `tencrop serve` with L, the limit that engine and decoders set on this machine.

python -m bench.serving_limit --images FOLDER [--clients 16 64 256] [--workers 0 auto] [--seconds 4] [SERVE OPTIONS]

bench/validation.py says what E, d and L are. Each number of worker processes gets a server of its own, which answers
closed loops of clients that send photographs of FOLDER. Options that are not named here go to `tencrop serve`.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.machine import describe_machine
from bench.serving.client import Load, compile_client, run_load
from bench.serving.post import find_rgb_jpegs, write_requests
from bench.serving.process import exit_at_sigterm, find_free_port, run_server
from bench.validation import DECODED, limit, measure_decoding, measure_engine
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions


def main() -> None:
    """Measure E, d and L, then each server, and print its lines of the table at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs of typical sizes")
    parser.add_argument("--clients", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--workers", nargs="+", default=["0", "auto"], help="worker processes, as for `tencrop serve`")
    parser.add_argument("--seconds", type=float, default=4, help="for each load, after its warm-up")
    options, serve_options = parser.parse_known_args()
    exit_at_sigterm()
    try:
        measure(options, serve_options)
    except (BadInput, WorkFailed) as error:
        sys.exit(str(error))


def measure(options: argparse.Namespace, serve_options: Sequence[str]) -> None:
    """Measure and print. Raises BadInput, WorkFailed."""
    photographs = find_rgb_jpegs(options.images)[0][:DECODED]
    with open_classifier(EMBEDDED, EngineOptions()) as classifier:
        d, images = measure_decoding(classifier, photographs)
        e = measure_engine(classifier, images)
        at_most = limit(classifier, e, d)
        print(f"{describe_machine()}; {classifier.engine.name} in {classifier.engine.precision}")
    print(f"E {e:.1f} images/s, d {1000 * d:.2f} ms, L {at_most:.1f} images/s\n")
    print(
        "| workers | clients | images/s | of L | p50, ms | p99, ms | other than 200 |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        client, encoded = compile_client(folder), [photograph.read_bytes() for photograph in photographs]
        requests = write_requests(encoded, folder / "requests")
        for workers in options.workers:
            port = find_free_port()
            command = [sys.executable, *f"-m tencrop serve --port {port} --workers {workers}".split(), *serve_options]
            with run_server(command, {}, folder / "serve.log", port, requests[0].read_bytes()):
                for clients in options.clients:
                    load = run_load(client, port, Load("clients", clients), options.seconds, requests)
                    times = ["" if math.isnan(time) else f"{time:.0f}" for time in (load.p50, load.p99)]
                    cells = [f"{load.images_per_s:.0f}", f"{load.images_per_s / at_most:.2f}", *times]
                    row = [workers, str(clients), *cells, str(load.refused + load.failed)]
                    print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
