"""Measures latencies while clients of a fault run, and how a server ends."""

import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np

from bench.faults.clients import Fault, ask_for_long_paths, call, post
from bench.startup import resident_mib, started

HEALTH = 0.02  # seconds between two probes
ASKING = 64  # clients that send requests when SIGTERM comes
FLOOD = 16  # clients whose requests have long lines in the log
STDOUTS = {"while nobody reads stdout": False, "after the reader of stdout has died": True}  # name -> is it closed
DROPPED = re.compile(rb'tencrop_log_lines_dropped_total\{stream="stdout"\} (\S+)')


@contextmanager
def run_clients(clients: Sequence[Fault], address: str, photos: list[bytes]) -> Iterator["Counter[object]"]:
    """Run clients until the block ends; yield the count of their outcomes so far."""
    outcomes: Counter[object] = Counter()
    lock, stopped = threading.Lock(), threading.Event()

    def run(number: int) -> None:
        while not stopped.is_set():
            outcome = clients[number](address, photos[number:] + photos[:number], stopped)
            with lock:
                outcomes[outcome] += 1

    with ThreadPoolExecutor(len(clients)) as pool:
        done = [pool.submit(run, number) for number in range(len(clients))]
        try:
            yield outcomes
        finally:
            stopped.set()
        for each in done:
            each.result()


def measure_fault(
    process: "subprocess.Popen[str]", address: str, clients: Sequence[Fault], photos: list[bytes], seconds: float
) -> list[str]:
    """The cells of a fault's row: latencies, resident memory, the outcomes of its clients."""
    with run_clients(clients, address, photos) as outcomes:
        light, health = measure_latency(address, photos[0], seconds)
    latencies = (np.percentile(*each) * 1e3 for each in ((light, 50), (light, 99), (health, 99)))
    answers = ", ".join(f"{times} x {outcome}" for outcome, times in outcomes.most_common())
    return [*(f"{each:.0f} ms" for each in latencies), f"{resident_mib(process, 'VmRSS'):.0f} MiB", answers]


def measure_unread_log(is_closed: bool, photos: list[bytes], seconds: float) -> list[str]:
    """The cells of the row of a server whose stdout is a pipe that nobody reads, or whose reader has closed it."""
    with started([], subprocess.PIPE) as (process, address, _):
        assert process.stdout is not None and process.stderr is not None
        with process.stdout, process.stderr:
            if is_closed:
                process.stdout.close()
            *cells, answers = measure_fault(process, address, [ask_for_long_paths] * FLOOD, photos, seconds)
            found = DROPPED.search(call(f"{address}/metrics")[1])
    return [*cells, f"{answers}; {float(found[1]) if found else 0:.0f} lines of the log dropped"]


def measure_latency(address: str, photo: bytes, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds of each light request, and of each /healthz probe."""
    light, health, until = [], [], time.monotonic() + seconds

    def probe() -> None:
        while time.monotonic() < until:
            health.append(time_call(partial(urllib.request.urlopen, f"{address}/healthz", timeout=60)))
            time.sleep(HEALTH)

    prober = threading.Thread(target=probe)
    prober.start()
    while time.monotonic() < until:
        light.append(time_call(partial(post, address, photo)))
    prober.join()
    return light, health


def time_call(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def terminate(
    process: subprocess.Popen[str], address: str, photos: Sequence[bytes]
) -> tuple["Counter[object]", float, int]:
    """Send SIGTERM while clients send requests: their outcomes, the seconds until the server ended, its exit code."""

    def ask(number: int) -> object:
        try:
            return post(address, photos[number % len(photos)])
        except OSError:
            return "no connection"  # the server had closed its socket already

    with ThreadPoolExecutor(ASKING) as pool:
        sent = [pool.submit(ask, number) for number in range(2 * ASKING)]
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        seconds = time_call(process.wait)
        return Counter(each.result() for each in sent), seconds, process.wait()
