"""Measures how long a well-behaved client waits while other clients misbehave: each fault in turn, on a real server.

python -m bench.faults --images FOLDER [--seconds 10]
python -m bench.faults --images FOLDER --soak MINUTES

The well-behaved client sends one photograph after another. GET /healthz is sent every 20 ms at the same time. A soak
instead mixes good and bad clients on one server for minutes, and measures its memory, descriptors and threads.
"""

import argparse
from pathlib import Path

from bench.expensive_images import animation, scans
from bench.faults.clients import FAULTS, large_png
from bench.faults.measure import ASKING, FLOOD, STDOUTS, measure_fault, measure_unread_log, terminate
from bench.faults.soak import soak
from bench.machine import describe_machine
from bench.startup import resident_mib, started
from tencrop.images.file_name import is_image


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
            row = measure_fault(process, address, [fault] * count, photos, seconds)
            print("|", " | ".join((name if count == 1 else f"{count} {name}", *row)), "|", flush=True)
        for name, is_closed in STDOUTS.items():
            row = measure_unread_log(is_closed, photos, seconds)
            print("|", " | ".join((f"{FLOOD} clients with paths of 30 kB, {name}", *row)), "|", flush=True)
        print(f"\nPeak memory: {resident_mib(process, 'VmHWM'):.0f} MiB.")
        statuses, took, code = terminate(process, address, photos)
        print(f"SIGTERM while {ASKING} clients send requests: {dict(statuses)}; exit code {code} after {took:.2f} s.")


if __name__ == "__main__":
    main()
