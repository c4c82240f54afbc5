"""Measures the CPU time an image of the engine process of `tencrop serve --workers`, apart from its net.

python -m bench.doors.engine [--images 128] [--batch 32] [--seconds 5]

The process answers a client that keeps so many images in their slots and sends new ones as soon as it has answers, as
busy workers do. The model is bench/doors/null_model.py, whose forward pass counts. The goal is 60 us an image, which
10,000 images/s of a large GPU leave.
"""

import argparse
import asyncio
import mmap
import os
import socket
import tempfile
import time
from pathlib import Path

from uvicorn.loops.auto import auto_loop_factory

from bench.doors.null_model import write_null_model
from bench.machine import describe_machine
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.engines import Engines, describe_models
from tencrop.server.metrics import Metrics
from tencrop.server.server_counts import ServerCounts
from tencrop.server.settings import read_settings
from tencrop.server.shared_metrics import share_metrics
from tencrop.server.workers.records import ANSWER, ASK, ASKING, Parts
from tencrop.server.workers.slots import Slots
from tencrop.server.workers.worker_channel import WorkerChannel

WARM_UP = 1.0  # seconds
CLIENT = 1  # the hash of the client's name


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128, help="that wait or are computed")
    parser.add_argument("--batch", type=int, default=32, help="most images of a forward pass")
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        share_metrics(Path(scratch), 0)  # as the processes of a server do
        model = open_classifier(write_null_model(Path(scratch)), EngineOptions(engine="onnxruntime"))
        settings = read_settings(forward_views=10 * options.batch)
        models = describe_models([model], settings)
        slots = Slots(mmap.mmap(-1, Slots.count_bytes(models, 1)), 0, models)
        here, there = socket.socketpair()
        client = os.fork()  # before any thread starts
        if client == 0:
            here.close()
            _ask(there, options.images)
            os._exit(0)
        there.close()
        metrics = Metrics()
        engines = Engines([model], models, settings, None, ServerCounts(1), metrics)
        with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
            rate, cpu = runner.run(_measure(engines, metrics, slots, here, options.seconds))
        engines.close()
        os.waitpid(client, 0)
    print(f"{describe_machine()}: {rate:,.0f} images/s, {cpu * 1e6:.1f} us of CPU an image in the engine process")


async def _measure(
    engines: Engines, metrics: Metrics, slots: Slots, line: socket.socket, seconds: float
) -> tuple[float, float]:
    """Images a second and CPU seconds an image."""
    line.setblocking(False)
    (name,), ended = engines.queues, asyncio.Event()
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: WorkerChannel(0, slots, list(engines.queues.values()), lambda _: ended.set()), sock=line
    )
    await asyncio.sleep(WARM_UP)
    images, began, cpu = metrics.get_value("images_total", name), time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    images, took, cpu = (
        metrics.get_value("images_total", name) - images,
        time.perf_counter() - began,
        time.process_time() - cpu,
    )
    transport.close()
    await ended.wait()
    return images / took, cpu / images


def _ask(line: socket.socket, images: int) -> None:
    """Ask for images, and for another one in the slot of each answer, until the other end closes."""
    parts = Parts(ANSWER)
    slots: list[int] = list(range(images))
    while True:
        now = time.perf_counter()
        try:
            line.sendall(b"".join(ASKING.pack(ASK, 0, 0, slot, CLIENT, slot, now) for slot in slots))
            data = line.recv(1 << 16)
        except OSError:
            return
        if not data:
            return
        slots = [int(fields[1]) for fields in parts.feed(data)]


if __name__ == "__main__":
    main()
