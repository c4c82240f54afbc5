"""Measures how long a well-behaved client waits while other clients misbehave: each fault in turn, on a real server.

python -m bench.faults --images FOLDER [--seconds 10]
python -m bench.faults --images FOLDER --soak MINUTES

The well-behaved client sends one photograph after another. GET /healthz is sent every 20 ms at the same time. A soak
instead mixes good and bad clients on one server for minutes, and measures its memory, descriptors and threads.
"""

import argparse
from pathlib import Path

import numpy as np

from bench.expensive_images import animation, scans
from bench.faults.clients import FAULTS, large_png
from bench.faults.measure import ASKING, measure_latency, run_clients, terminate
from bench.faults.soak import soak
from bench.machine import describe_machine
from bench.startup import resident_mib, started
from tencrop.dataset.source import is_image


def main() -> None:
    """Print a row for each fault, or the table of a soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--seconds", type=float, default=10, help="for each fault")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="run the soak; Ctrl-C ends it with its table")
    options = parser.parse_args()
    photos = [path.read_bytes() for path in sorted(options.images.rglob("*")) if is_image(path.name)]
    if not photos:
        parser.error(f"--images {options.images}: no image in or below this folder; name a folder with photographs")
    print(f"{describe_machine()}\n")
    if options.soak:
        print(soak(photos, options.soak * 60))
    else:
        measure_faults(photos, options.seconds)


def measure_faults(photos: list[bytes], seconds: float) -> None:
    """Print a row for each fault, measured for so many seconds."""
    for encode in (large_png, scans, animation):
        encode()  # before a client needs it
    print("| fault | light request, p50 | p99 | /healthz, p99 | memory | answers |\n|---|---|---|---|---|---|")
    with started([]) as (process, address, _):
        for name, count, fault in FAULTS:
            with run_clients([fault] * count, address, photos) as outcomes:
                light, health = measure_latency(address, photos[0], seconds)
            p50, p99, probe = (np.percentile(*each) * 1e3 for each in ((light, 50), (light, 99), (health, 99)))
            answers = ", ".join(f"{times} x {outcome}" for outcome, times in outcomes.most_common())
            row = (name if count == 1 else f"{count} {name}", f"{p50:.0f} ms", f"{p99:.0f} ms", f"{probe:.0f} ms")
            print("|", " | ".join((*row, f"{resident_mib(process, 'VmRSS'):.0f} MiB", answers)), "|", flush=True)
        print(f"\nPeak memory: {resident_mib(process, 'VmHWM'):.0f} MiB.")
        statuses, took, code = terminate(process, address, photos)
        print(f"SIGTERM while {ASKING} clients send requests: {dict(statuses)}; exit code {code} after {took:.2f} s.")


if __name__ == "__main__":
    main()
