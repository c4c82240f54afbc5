"""Runs the clients of a soak on one server, and measures whether its memory, descriptors and threads grow."""

import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.faults.clients import call
from bench.faults.measure import run_clients
from bench.faults.soak_clients import CLIENTS, convert, write_data_set
from bench.startup import resident_mib, started

SAMPLE_SECONDS = 10.0  # between two samples
LOOKS = 10  # at the memory for a sample, which is the least of them: images in work come and go
WARM_UP_SECONDS = 30.0  # of all clients before the soak; a slow head takes 10
IDLE_SECONDS = 35.0  # without a client before each end is measured, more than any limit of the server
CLOSE_SECONDS = 1.0  # until the last connection is closed
KEPT = 5  # finished validations, so that the server soon holds as many as it keeps


class Sample(NamedTuple):
    """The memory, descriptors and threads of a process, so many seconds after the start of the soak."""

    seconds: float
    mib: float
    descriptors: int
    threads: int


def soak(
    photos: Sequence[bytes],
    seconds: float,
    sample_seconds: float = SAMPLE_SECONDS,
    warm_up_seconds: float = WARM_UP_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
) -> str:
    """Run a soak, or as much of it as passes until Ctrl-C; show the samples on stderr. Returns the table."""
    images = convert(photos)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_data_set(root / "data" / "photos", photos)
        places = ["--data-root", str(root / "data"), "--state-dir", str(root / "state")]
        with started([*places, "--keep-validations", str(KEPT)]) as (process, address, _):
            log = threading.Thread(target=show_log, args=[process])
            log.start()
            with run_clients(CLIENTS, address, images):
                time.sleep(warm_up_seconds)
            before = wait_and_look(process, address, idle_seconds)
            samples = [before]
            with suppress(KeyboardInterrupt), run_clients(CLIENTS, address, images) as outcomes:
                for sample in watch(process, seconds, sample_seconds):
                    samples.append(sample)
                    print(f"{describe(sample)}, {sum(tuple(outcomes.values())):,} attempts", file=sys.stderr)
            after = wait_and_look(process, address, idle_seconds)
        log.join()
    return render_table(before, samples, after, outcomes)


def show_log(process: "subprocess.Popen[str]") -> None:
    """Copy a server's log to stderr until the server ends."""
    assert process.stderr is not None
    with process.stderr:
        sys.stderr.writelines(process.stderr)


def watch(process: "subprocess.Popen[str]", seconds: float, sample_seconds: float) -> Iterator[Sample]:
    """Yield a sample of the least memory after every `sample_seconds`, for `seconds`."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        looks = []
        for _ in range(LOOKS):
            time.sleep(sample_seconds / LOOKS)
            looks.append(look(process, passed + sample_seconds))
        yield min(looks, key=lambda each: each.mib)


def wait_and_look(process: "subprocess.Popen[str]", address: str, idle_seconds: float) -> Sample:
    """Look at a server that has had no client for so long."""
    time.sleep(idle_seconds)
    call(f"{address}/v1/validations")  # whose thread pool now ends the threads that were idle
    time.sleep(CLOSE_SECONDS)
    return look(process, 0)


def look(process: "subprocess.Popen[str]", seconds: float) -> Sample:
    """Look at a server. Raises SystemExit where it has ended."""
    if (code := process.poll()) is not None:
        sys.exit(f"the server ended with exit code {code}")
    folder = Path(f"/proc/{process.pid}")
    descriptors, threads = (len(list((folder / part).iterdir())) for part in ("fd", "task"))
    return Sample(seconds, resident_mib(process, "VmRSS"), descriptors, threads)


def describe(sample: Sample) -> str:
    """A sample in one line."""
    return (
        f"{sample.seconds / 60:.1f} min: {sample.mib:.1f} MiB, {sample.descriptors} descriptors, "
        f"{sample.threads} threads"
    )


def compute_slope(samples: Sequence[Sample]) -> float:
    """MiB an hour over the last three quarters of the time, by least squares; not a number for one sample."""
    kept = [sample for sample in samples if sample.seconds >= samples[-1].seconds / 4]
    if len(kept) < 2:
        return float("nan")
    return float(np.polyfit([sample.seconds / 3600 for sample in kept], [sample.mib for sample in kept], 1)[0])


def render_table(before: Sample, samples: Sequence[Sample], after: Sample, outcomes: "Counter[object]") -> str:
    """The table of a soak; `before` and `after` were taken while no client ran."""
    answers = ", ".join(f"{times:,} x {outcome}" for outcome, times in outcomes.most_common())
    rows = [
        (f"soak of {samples[-1].seconds / 60:.1f} minutes", "before", "after"),
        ("---", "---", "---"),
        ("answers", "", answers),
        ("resident memory, idle", f"{before.mib:.1f} MiB", f"{after.mib:.1f} MiB"),
        ("its slope under load, last three quarters", "", f"{compute_slope(samples):+.2f} MiB/h"),
        ("descriptors, idle", f"{before.descriptors}", f"{after.descriptors}"),
        ("threads, idle", f"{before.threads}", f"{after.threads}"),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
