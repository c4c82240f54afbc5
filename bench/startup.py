"""Measures seconds from start to ready, resident memory, and the time of `import tencrop`.

python -m bench.startup [MODEL]
"""

import io
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from tencrop.model.probe import formula_image

RUNS = 5
IMPORTS = 15  # fresh interpreters that import tencrop; as many import nothing
POSTS = 200
SIZE = (500, 375)  # pixels, an ImageNet photograph's usual size


@contextmanager
def started(
    arguments: list[str], stdout: int = subprocess.DEVNULL
) -> Iterator[tuple[subprocess.Popen[str], str, float]]:
    """Yield a ready server's process, its address and the seconds that its start took; kill it when the block ends."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "tencrop", "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # a Ctrl-C at the terminal is for this program alone
    try:
        printed = ""
        assert process.stderr is not None
        while not (address := re.search(r"listening on (http://\S+)", printed)):
            line = process.stderr.readline()
            if not line:
                sys.exit(printed)
            printed += line
        while not _ready(address[1]):
            time.sleep(0.005)
        yield process, address[1], time.perf_counter() - began
    finally:
        process.kill()
        process.wait()


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=1):
            return True
    except OSError:
        return False


def resident_mib(process: subprocess.Popen[str], field: str) -> float:
    """Read the resident memory of a process: VmRSS is the present value, VmHWM the largest so far."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert match
    return int(match[1]) / 1024


def import_seconds(runs: int) -> float:
    """Measure the seconds of `import tencrop`: median of fresh interpreters, minus the median of empty ones."""
    taken: dict[str, list[float]] = {"import tencrop": [], "": []}
    for _ in range(runs):
        for program, seconds in taken.items():  # by turns, so that both meet the same load
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            seconds.append(time.perf_counter() - began)
    full, empty = (statistics.median(seconds) for seconds in taken.values())
    return full - empty


def main() -> None:
    """Print the medians of RUNS starts, the memory of the last, and the time of an import."""
    packed = io.BytesIO()
    Image.fromarray(formula_image(0, *SIZE)).save(packed, "JPEG", quality=90)
    seconds = []
    for _ in range(RUNS):
        with started(sys.argv[1:]) as (process, address, took):
            seconds.append(took)
            ready = resident_mib(process, "VmRSS")
            for _ in range(POSTS):
                urllib.request.urlopen(f"{address}/v1/predict", packed.getvalue(), timeout=60).read()
            peak = resident_mib(process, "VmHWM")
    print(f"start to ready: median {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s of {RUNS}")
    print(f"resident: {ready:.0f} MiB when ready, at most {peak:.0f} MiB over {POSTS} photographs")
    print(f"import tencrop: {import_seconds(IMPORTS) * 1e3:.0f} ms, median of {IMPORTS}, over an empty interpreter")


if __name__ == "__main__":
    main()
