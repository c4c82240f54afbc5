"""Bounded queue -> one forward: an engine's one thread takes whatever waits, up to the view budget, whenever it is idle."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from tencrop.common.errors import Stopped, WorkFailed, one_line
from tencrop.runtime.ensemble import Predictor
from tencrop.server.metrics import Metrics

PATIENCE = 0.25  # seconds after which a job that waits for the engine looks whether it is still wanted
SMALL = 4  # images; a forward of at most so many is not padded


class BatchedAnswer(NamedTuple):
    """One image's row of a forward, and how long it took in seconds."""

    probabilities: np.ndarray  # [C]
    view_probabilities: np.ndarray  # [10,C]
    queue_seconds: float
    engine_seconds: float


class EngineInfo(NamedTuple):
    """What computes a model's answers: one engine at one precision, on a device or on several ("cuda:0,cuda:1")."""

    engine: str
    device: str
    precision: str


class _Waiting(NamedTuple):
    pixels: np.ndarray
    future: "asyncio.Future[BatchedAnswer]"
    since: float


class _Background(NamedTuple):
    images: np.ndarray
    future: "Future[tuple[np.ndarray, np.ndarray]]"


def forward_sizes(most: int) -> list[int]:
    """The sizes of forwards: each small one, powers of two, and the largest. No other shape ever reaches an engine."""
    return [size for size in range(1, most) if size <= SMALL or size & (size - 1) == 0] + [most]


def warm_up(engine: Predictor, forward_images: int) -> None:
    """Run every size once, so that no request waits for memory to be laid out. Raises WorkFailed."""
    side = engine.contract.resize
    for size in forward_sizes(forward_images):
        try:
            engine.forward(np.zeros((size, side, side, 3), np.uint8))
        except Exception as error:  # both runtimes raise types of their own
            why = f"{engine.name}: a forward of {size} images fails: {one_line(error)}; set TENCROP_FORWARD_VIEWS lower"
            raise WorkFailed(why) from None


class Batcher:
    """Gives every caller its own row. No artificial delay: under load batches form by themselves.

    `engines` are one model on one device or on several, each with a thread of its own; `forward_images` and
    `queue_images` bound a forward and what is admitted.
    """

    def __init__(self, engines: Sequence[Predictor], forward_images: int, metrics: Metrics) -> None:
        self.model = engines[0]
        first = self.model.engine
        self.engine_info = EngineInfo(first.name, ",".join(each.engine.device for each in engines), first.precision)
        self.forward_images = forward_images
        self.metrics = metrics
        self._sizes = forward_sizes(forward_images)
        self._queue: deque[_Waiting] = deque()
        self._background: _Background | None = None  # looked at when nothing waits and nothing comes
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
    def alive(self) -> bool:
        """All engines' threads run."""
        return all(thread.is_alive() for thread in self._threads)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """An image that is on its way to `predict`: until it is answered no forward of a job begins."""
        with self._wake:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._wake:
                self._in_flight -= 1
                self._wake.notify_all()

    async def predict(self, pixels: np.ndarray) -> BatchedAnswer:
        """uint8 [R,R,3] -> its prediction; a caller that is cancelled is dropped before its forward."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(pixels, loop.create_future(), time.perf_counter())
        with self._wake:
            self._queue.append(waiting)
            self._wake.notify_all()
        prediction = await waiting.future
        self.metrics.images.labels(self.model.name).inc()
        self.metrics.queue_seconds.labels(self.model.name).observe(prediction.queue_seconds)
        return prediction

    def run_background(self, images: np.ndarray, stopped: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
        """A forward of its own for a job's thread, one caller at a time: as Classifier.forward, run when no request waits.

        Raises Stopped once `stopped` says so or the batcher has ended, WorkFailed where a thread has died, and whatever the engine raises.
        """
        task = _Background(images, Future())
        with self._wake:
            self._background = task
            self._wake.notify_all()
        while not wait((task.future,), PATIENCE).done:
            if stopped() or not self.alive:
                with self._wake:
                    self._background = None
                raise (
                    Stopped("the job was stopped")
                    if stopped() or self._stopping
                    else WorkFailed("the engine has stopped")
                )
        return task.future.result()

    def stop(self) -> None:
        """Finish what waits, then end the threads."""
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
            except Exception as error:  # whatever the engine raises goes to those who asked; the thread lives on
                self._deliver(batch, [error] * len(batch))

    def _forward(self, engine: Predictor, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Classifier.predict of a batch that is padded to one of the sizes."""
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
        """The next batch, without those whose client left; a job's forward where none waits; None once stopped and done."""
        batch: list[_Waiting] = []
        with self._wake:
            while True:
                self._wake.wait_for(lambda: self._queue or (self._background and not self._in_flight) or self._stopping)
                while self._queue and len(batch) < self.forward_images:
                    waiting = self._queue.popleft()
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
