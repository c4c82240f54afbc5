"""Bounded queue -> one forward: the engine's one thread takes whatever waits, up to the view budget, whenever it is idle."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple

import numpy as np

from model.classifier import Classifier
from model.errors import Stopped
from server.errors import Refusal

PATIENCE = 0.25  # seconds after which a job that waits for the engine looks whether it is still wanted


class Prediction(NamedTuple):
    """One image's row of a forward, and how long it took in seconds."""

    probabilities: np.ndarray  # [C]
    view_probabilities: np.ndarray  # [10,C]
    queue_seconds: float
    engine_seconds: float


class _Waiting(NamedTuple):
    pixels: np.ndarray
    future: "asyncio.Future[Prediction]"
    since: float


class _Background(NamedTuple):
    images: np.ndarray
    future: "Future[tuple[np.ndarray, np.ndarray]]"


class Batcher:
    """Gives every caller its own row. No artificial delay: under load batches form by themselves."""

    def __init__(self, classifier: Classifier, forward_views: int, queue_views: int) -> None:
        views = len(classifier.file.card.contract.views)
        self.classifier = classifier
        self.forward_images, self.queue_images = max(1, forward_views // views), max(1, queue_views // views)
        self._queue: deque[_Waiting] = deque()
        self._background: _Background | None = None  # looked at when the queue is empty
        self._admitted = 0
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=f"engine {classifier.name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """The engine's thread runs."""
        return self._thread.is_alive()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place for one image, held from before its body is read until it is answered.

        Raises Refusal 429 where none is free. For the event loop's thread.
        """
        if self._admitted >= self.queue_images:
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "queue_full", "too many images are waiting; try again", {"Retry-After": "1"})
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def predict(self, pixels: np.ndarray) -> Prediction:
        """uint8 [R,R,3] -> its prediction; a caller that is cancelled is dropped before its forward."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(pixels, loop.create_future(), time.perf_counter())
        with self._wake:
            self._queue.append(waiting)
            self._wake.notify()
        return await waiting.future

    def background(self, images: np.ndarray, stopped: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
        """A forward of its own for a job's thread, one caller at a time: as Classifier.predict, run when no request waits.

        Raises Stopped once `stopped` says so or the batcher has ended, and whatever the engine raises.
        """
        task = _Background(images, Future())
        with self._wake:
            self._background = task
            self._wake.notify()
        while not wait((task.future,), PATIENCE).done:
            if stopped() or not self.alive:
                with self._wake:
                    self._background = None
                raise Stopped("the job was stopped")
        return task.future.result()

    def stop(self) -> None:
        """Finish what waits, then end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take():
            if isinstance(batch, _Background):
                self._run_background(batch)
                continue
            started = time.perf_counter()
            try:
                mean, views = self.classifier.predict(np.stack([waiting.pixels for waiting in batch]))
                took = time.perf_counter() - started
                rows = zip(batch, mean, views, strict=True)
                self._deliver(batch, [Prediction(p, each, started - waiting.since, took) for waiting, p, each in rows])
            except Exception as error:  # whatever the engine raises goes to those who asked; the thread lives on
                self._deliver(batch, [error] * len(batch))

    def _run_background(self, task: _Background) -> None:
        try:
            task.future.set_result(self.classifier.predict(task.images))
        except Exception as error:  # as in _work
            task.future.set_exception(error)

    def _take(self) -> list[_Waiting] | _Background | None:
        """The next batch, without those whose client left; a job's forward where none waits; None once stopped and done."""
        batch: list[_Waiting] = []
        with self._wake:
            while True:
                self._wake.wait_for(lambda: self._queue or self._background or self._stopping)
                while self._queue and len(batch) < self.forward_images:
                    waiting = self._queue.popleft()
                    if not waiting.future.done():
                        batch.append(waiting)
                if batch:
                    return batch
                if self._stopping:
                    return None
                task, self._background = self._background, None
                if task:
                    return task

    @staticmethod
    def _deliver(batch: list[_Waiting], results: list[Prediction | Exception]) -> None:
        def settle(future: "asyncio.Future[Prediction]", result: Prediction | Exception) -> None:
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


class SpareEngine:
    """A served model's engine, in forwards of the job's own and only when no request waits."""

    def __init__(self, batcher: Batcher, stopped: Callable[[], bool]) -> None:
        engine = batcher.classifier.engine
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self._batcher, self._stopped = batcher, stopped

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Raises Stopped, at once or while it waits; the chunk that this is of is done again when the job goes on."""
        if self._stopped():
            raise Stopped("the job was stopped")
        mean, each = self._batcher.background(batch, self._stopped)
        return {"probabilities": mean, "view_probabilities": each}
