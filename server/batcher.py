"""Bounded queue -> one forward: the engine's one thread takes whatever waits, up to the view budget, whenever it is idle."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple

import numpy as np

from model.classifier import Classifier
from server.errors import Refusal


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


class Batcher:
    """Gives every caller its own row. No artificial delay: under load batches form by themselves."""

    def __init__(self, classifier: Classifier, forward_views: int, queue_views: int) -> None:
        views = len(classifier.file.card.contract.views)
        self.classifier = classifier
        self.forward_images, self.queue_images = max(1, forward_views // views), max(1, queue_views // views)
        self._queue: deque[_Waiting] = deque()
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

    def stop(self) -> None:
        """Finish what waits, then end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take():
            started = time.perf_counter()
            try:
                mean, views = self.classifier.predict(np.stack([waiting.pixels for waiting in batch]))
                took = time.perf_counter() - started
                rows = zip(batch, mean, views, strict=True)
                self._deliver(batch, [Prediction(p, each, started - waiting.since, took) for waiting, p, each in rows])
            except Exception as error:  # whatever the engine raises goes to those who asked; the thread lives on
                self._deliver(batch, [error] * len(batch))

    def _take(self) -> list[_Waiting]:
        """The next batch, without those whose client left; empty once stopped and done."""
        batch: list[_Waiting] = []
        with self._wake:
            while not batch:
                self._wake.wait_for(lambda: self._queue or self._stopping)
                while self._queue and len(batch) < self.forward_images:
                    waiting = self._queue.popleft()
                    if not waiting.future.done():
                        batch.append(waiting)
                if self._stopping and not self._queue:
                    break
        return batch

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
