"""Compares decoding by threads and by processes: images/s, and the CPU time of this process for an image.

python -m bench.decoding PHOTOS [--threads 1 2 16] [--processes 1 2 16] [--seconds 3]

The files below PHOTOS are read and decoded into one array, over and over, as a validation does. Python's lock bounds
what this process does itself: its threads together take at most 1,000 ms of it in a second. How much of the time
decoding holds the lock, py-spy tells:

py-spy record --gil --rate 200 --format raw --output gil.txt -- python -m bench.decoding PHOTOS --threads 1 --processes
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.machine import describe_machine
from tencrop.images.decode_processes import run_in_processes
from tencrop.images.file_name import is_image
from tencrop.images.limits import read_image_file
from tencrop.images.shared_array import SharedArray, decode_into_shared
from tencrop.model.contract import Contract

CONTRACT = Contract()


class Speed(NamedTuple):
    """Images/s, and milliseconds of this process's CPU time an image."""

    rate: float
    own_ms: float


def measure(photos: list[Path], callers: int, call: Callable[[int, bytes], object], seconds: float) -> Speed:
    """Measure `callers` threads that each read a file and call `call` with it, again and again."""

    def work(caller: int, end: float) -> int:
        number = caller
        while time.perf_counter() < end:
            call(caller, read_image_file(photos[number % len(photos)]))
            number += callers
        return number // callers

    with ThreadPoolExecutor(callers) as threads:
        list(threads.map(work, range(callers), np.full(callers, time.perf_counter() + 1)))  # processes start
        started, own = time.perf_counter(), time.process_time()
        done = sum(threads.map(work, range(callers), np.full(callers, started + seconds)))
    return Speed(done / (time.perf_counter() - started), 1000 * (time.process_time() - own) / done)


def main() -> None:
    """Print a line for each number of threads, and for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2, 16])
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 16])
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    photos = sorted(path for path in options.photos.rglob("*") if is_image(path.name))
    print(describe_machine())
    with closing(SharedArray((max([1, *options.threads, *options.processes]), 256, 256, 3))) as shared:
        function = partial(decode_into_shared, shared, CONTRACT)
        for kind, count in [
            *(("threads", count) for count in options.threads),
            *(("processes", count) for count in options.processes),
        ]:
            workers = count if kind == "processes" else 0
            with run_in_processes(function, workers, [shared.descriptor]) as call:
                speed = measure(photos, count, call, options.seconds)
            print(f"{count} {kind}: {speed.rate:.0f} images/s, {speed.own_ms:.2f} ms of this process an image")


if __name__ == "__main__":
    main()
