"""Batcher: the queue in front of a model's engines.

Whenever an engine is idle, its one thread takes the images that wait, up to a limit, and runs one forward pass.
Clients and their requests take turns. Nothing is delayed to fill a batch: under load batches form by themselves.
Admission limits the queue.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tencrop.common.errors import Stopped, WorkFailed, one_line
from tencrop.runtime.ensemble import Predictor
from tencrop.server.metrics import Metrics
from tencrop.server.requester import Requester
from tencrop.server.turns import Turns

CHECK_SECONDS = 0.25  # how often a job that waits for the engine looks whether it was stopped
SMALL = 4  # images; a forward pass of so few is not padded


class BatchedAnswer(NamedTuple):
    """One image's row of a forward pass, and the image's times."""

    probabilities: np.ndarray  # [C]
    view_probabilities: np.ndarray  # [10,C]
    queue_seconds: float  # until the forward pass began
    engine_seconds: float  # of the whole forward pass


class EngineInfo(NamedTuple):
    """The engine, the devices ("cuda:0,cuda:1") and the precision that compute a model's answers."""

    engine: str
    device: str
    precision: str


@dataclass(eq=False)
class _Waiting:
    pixels: np.ndarray
    future: "asyncio.Future[BatchedAnswer]"
    since: float


class _Background(NamedTuple):
    images: np.ndarray
    future: "Future[tuple[np.ndarray, np.ndarray]]"


def forward_sizes(forward_images: int) -> list[int]:
    """The batch sizes of forward passes: all small ones, powers of two, and the largest. An engine sees no other."""
    return [size for size in range(1, forward_images) if size <= SMALL or size & (size - 1) == 0] + [forward_images]


def warm_up(engine: Predictor, forward_images: int) -> None:
    """Run every batch size once, so that no request waits while an engine plans its memory. Raises WorkFailed."""
    side = engine.contract.resize
    for size in forward_sizes(forward_images):
        try:
            engine.forward(np.zeros((size, side, side, 3), np.uint8))
        except Exception as error:  # each runtime raises types of its own
            what = f"{engine.name}: a forward of {size} images fails: {one_line(error)}"
            raise WorkFailed(what, "set TENCROP_FORWARD_VIEWS lower") from None


class Batcher:
    """Batches the images of callers, and gives each caller its own row.

    `engines` are one model on one device or on several, each with a thread of its own. A forward pass takes at most
    `forward_images`. A job's forward pass begins only while no image of a request is in flight.
    """

    def __init__(self, engines: Sequence[Predictor], forward_images: int, metrics: Metrics) -> None:
        self.model = engines[0]
        first = self.model.engine
        self.engine_info = EngineInfo(first.name, ",".join(each.engine.device for each in engines), first.precision)
        self.forward_images = forward_images
        self.metrics = metrics
        self._sizes = forward_sizes(forward_images)
        self._queue: Turns[_Waiting] = Turns()
        self._background: _Background | None = None  # taken when no image waits or is in flight
        self._in_flight = 0  # images
        self._wake = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, args=(each,), name=f"engine {each.name}", daemon=True)
            for each in engines
        ]
        for thread in self._threads:
            thread.start()
        metrics.set_engine(self.model.name, self.engine_info._asdict())
        metrics.watch_queue(self.model.name, lambda: len(self._queue))

    @property
    def is_alive(self) -> bool:
        """Return whether all engines' threads run."""
        return all(thread.is_alive() for thread in self._threads)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Mark an image that will reach `answer`. No forward pass of a job begins until the block ends."""
        with self._wake:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._wake:
                self._in_flight -= 1
                self._wake.notify_all()

    async def answer(self, pixels: np.ndarray, requester: Requester) -> BatchedAnswer:
        """uint8 [R,R,3] -> its answer. An image whose caller is cancelled leaves the queue before its forward pass."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(pixels, loop.create_future(), time.perf_counter())
        with self._wake:
            self._queue.put(requester, waiting)
            self._wake.notify_all()
        try:
            answer = await waiting.future
        except asyncio.CancelledError:
            with self._wake:
                self._queue.remove(requester, waiting)
            raise
        self.metrics.images.labels(self.model.name).inc()
        self.metrics.queue_seconds.labels(self.model.name).observe(answer.queue_seconds)
        return answer

    def run_background(self, images: np.ndarray, is_stopped: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
        """`Classifier.forward` in a forward pass of its own, for the thread of a job. One caller at a time.

        Raises Stopped once `is_stopped` returns true or the batcher has ended, WorkFailed where an engine's thread has
        died, and whatever the engine raises.
        """
        task = _Background(images, Future())
        with self._wake:
            self._background = task
            self._wake.notify_all()
        while not wait((task.future,), CHECK_SECONDS).done:
            if is_stopped() or not self.is_alive:
                with self._wake:
                    self._background = None
                if is_stopped() or self._stopping:
                    raise Stopped("the job was stopped")
                raise WorkFailed("the engine has stopped")
        return task.future.result()

    def stop(self) -> None:
        """Answer the images that wait, then end the threads."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, engine: Predictor) -> None:
        while batch := self._take():
            if isinstance(batch, _Background):
                self._run_background(engine, batch)
                continue
            started = time.perf_counter()
            try:
                mean, views = self._forward(engine, [waiting.pixels for waiting in batch])
                took = time.perf_counter() - started
                rows = zip(batch, mean, views, strict=True)
                self._deliver(
                    batch, [BatchedAnswer(p, each, started - waiting.since, took) for waiting, p, each in rows]
                )
            except Exception as error:  # goes to the callers; the thread lives on
                self._deliver(batch, [error] * len(batch))

    def _forward(self, engine: Predictor, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """`Classifier.forward` of a batch, padded to one of the batch sizes."""
        size = next(size for size in self._sizes if size >= len(images))
        padded = np.stack([*images, *[images[0]] * (size - len(images))])
        with self.metrics.time_forward(self.model.name, size * len(self.model.contract.views)):
            mean, views = engine.forward(padded)
        return mean[: len(images)], views[: len(images)]

    def _run_background(self, engine: Predictor, task: _Background) -> None:
        try:
            task.future.set_result(engine.forward(task.images))
        except Exception as error:  # as in _work
            task.future.set_exception(error)

    def _take(self) -> list[_Waiting] | _Background | None:
        """Wait for the next batch; for a job's forward pass where no image is in flight; None once stopped and done.

        Images whose caller was cancelled are dropped here.
        """
        batch: list[_Waiting] = []
        with self._wake:
            while True:
                self._wake.wait_for(lambda: self._queue or (self._background and not self._in_flight) or self._stopping)
                while self._queue and len(batch) < self.forward_images:
                    waiting = self._queue.take()
                    if not waiting.future.done():
                        batch.append(waiting)
                if batch:
                    return batch
                if self._stopping:
                    return None
                if self._background and not self._in_flight:
                    task, self._background = self._background, None
                    return task

    @staticmethod
    def _deliver(batch: list[_Waiting], results: list[BatchedAnswer | Exception]) -> None:
        """Settle each future in its own event loop."""

        def settle(future: "asyncio.Future[BatchedAnswer]", result: BatchedAnswer | Exception) -> None:
            if future.done():  # cancelled meanwhile
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        for waiting, result in zip(batch, results, strict=True):
            loop = waiting.future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, waiting.future, result)
