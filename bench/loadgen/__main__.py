"""Measures our engine and servers by MLPerf's LoadGen: SingleStream, Server and Offline, with its accuracy mode.

python -m bench.loadgen --data FOLDER --out FOLDER [--holdout 1] [--seconds 600] [--bound 0.5] [--rows NAME=SHARE ...]
    [--envs FOLDER]

A row is `engine`, our engine in this process on decoded images, or a server of bench.serving. Each row first answers
every image once, in accuracy mode. Its images/s there set the loads that follow: the scenario Server sends SHARE of
them, at random times. LoadGen's logs go to --out.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.loadgen.harness import (
    ACCURACY,
    OFFLINE,
    SERVER,
    SINGLE_STREAM,
    Harness,
    read_classes,
    read_details,
)
from bench.loadgen.systems import ENGINE, SYSTEMS, run_engine, run_row
from bench.loadgen.workers import Workers
from bench.machine import describe_machine
from bench.serving.__main__ import ENVS
from bench.serving.measure import report_progress
from bench.serving.process import exit_at_sigterm
from bench.serving.report import table_header
from bench.serving.start import write_rival_files
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset.layouts import open_source
from tencrop.evaluation.plan import plan_evaluation
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

ROWS = {ENGINE: 0.8, "ours": 0.8, "litserve": 0.5}  # with the share of its images/s that Server sends
MARGIN = 1.1  # Offline sends so many more images than last --seconds; a test that ends earlier is not valid
SECOND = 1e9  # in LoadGen's unit
FIGURES = {  # keys of the detail log: images/s, and the latencies that 90 % and 99 % of the queries keep
    SINGLE_STREAM: ("result_qps_with_loadgen_overhead", "early_stopping_latency_ss", "early_stopping_latency_ms"),
    SERVER: (
        "result_completed_samples_per_sec",
        "result_90.00_percentile_latency_ns",
        "result_99.00_percentile_latency_ns",
    ),
    OFFLINE: ("result_samples_per_second",),
}


def main() -> None:
    """Measure and print the table; an error is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a labelled data set of the embedded model's classes")
    parser.add_argument("--out", type=Path, required=True, help="the folder of LoadGen's logs")
    parser.add_argument("--holdout", type=float, default=1, help="as for `tencrop evaluate`")
    parser.add_argument(
        "--seconds", type=float, default=600, help="least time of each test; MLPerf's rules ask for 600"
    )
    parser.add_argument("--bound", type=float, default=0.5, help="seconds that 99 %% of Server's queries may take")
    parser.add_argument("--rows", type=parse_row, nargs="+", default=list(ROWS.items()), metavar="NAME=SHARE")
    parser.add_argument("--envs", type=Path, default=ENVS, help="the folder of the environments")
    options = parser.parse_args()
    exit_at_sigterm()
    try:
        with TemporaryDirectory() as scratch:
            print(measure(options, Path(scratch)))
    except (BadInput, WorkFailed) as error:
        sys.exit(str(error))
    except (KeyboardInterrupt, SystemExit):
        print("stopped", file=sys.stderr)
        os._exit(1)  # at once, for the thread of LoadGen cannot be ended


def parse_row(text: str) -> tuple[str, float]:
    """NAME=SHARE. Raises ArgumentTypeError."""
    name, _, share = text.partition("=")
    if name not in SYSTEMS:
        raise argparse.ArgumentTypeError(f"{name}: expected {', '.join(SYSTEMS)}")
    return name, float(share)


def measure(options: argparse.Namespace, scratch: Path) -> str:
    """The report of all rows."""
    classifier = open_classifier(EMBEDDED, EngineOptions())
    plan = plan_evaluation(open_source(options.data), classifier, options.holdout)
    images = [plan.data.read(entry) for entry in plan.entries]
    write_rival_files(scratch)
    harness = Harness(options.envs.absolute(), options.out, len(images), options.seconds)
    table, errors = table_header("row", "scenario", "result", "images/s", "p90", "p99", "images"), []
    for name, share in options.rows:
        system = run_engine(classifier, images) if name == ENGINE else run_row(name, options.envs, scratch, images)
        with system as workers:
            error, rate = measure_accuracy(harness, workers, name, plan.labels)
            errors.append(f"{name} {100 * error:.2f} %")
            for scenario, load in choose_loads(rate, share, options.bound, len(images) / options.seconds).items():
                folder = harness.run(workers, name, scenario, settings=load)
                table.append(render_row(name, scenario, read_details(folder)))
                report_progress(table[-1])
    head = f"{describe_machine()}; our precision {classifier.engine.precision}; at least {options.seconds:g} s each"
    bound = f"Server: 99 % of the queries within {1e3 * options.bound:g} ms."
    return "\n".join([head, "", *table, "", bound, f"Top-1 errors over {len(images)} images: {', '.join(errors)}."])


def measure_accuracy(harness: Harness, workers: Workers, name: str, labels: Sequence[int]) -> tuple[float, float]:
    """Answer every image once; return the share that is wrong, and images/s."""
    started = time.perf_counter()
    folder = harness.run(workers, name, OFFLINE, ACCURACY)
    rate = len(labels) / (time.perf_counter() - started)
    classes = read_classes(folder)
    error = sum(classes[number] != label for number, label in enumerate(labels)) / len(labels)
    report_progress(f"{name}: top-1 error {100 * error:.2f} %, {rate:.1f} images/s")
    return error, rate


def choose_loads(rate: float, share: float, bound: float, least: float) -> dict[str, dict[str, float]]:
    """LoadGen's settings for each scenario. Offline sends each image at least once, which takes `least` images/s."""
    return {
        SINGLE_STREAM: {},
        SERVER: {"server_target_qps": share * rate, "server_target_latency_ns": round(bound * SECOND)},
        OFFLINE: {"offline_expected_qps": max(MARGIN * rate, least)},
    }


def render_row(name: str, scenario: str, details: Mapping[str, Any]) -> str:
    """A line of the table. Latencies are in ms."""
    speed, *latencies = FIGURES[scenario]
    times = [f"{1e3 * details[key] / SECOND:.0f}" for key in latencies] or ["", ""]
    images = details["result_query_count"] * details["generated_samples_per_query"]
    cells = [name, scenario, details["result_validity"], f"{details[speed]:.1f}", *times, f"{images}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
