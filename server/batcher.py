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
from itertools import product
from typing import NamedTuple

import numpy as np

from tencrop.common.errors import Stopped, WorkFailed, one_line
from tencrop.runtime.allocator import give_back_free_memory
from tencrop.runtime.ensemble import Predictor
from tencrop.server.batch_outputs import BatchOutputs
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.metrics import Metrics
from tencrop.server.requester import Requester
from tencrop.server.turns import Turns
from tencrop.server.waiting import Awaited, BatchedAnswer, Waiting, deliver

CHECK_SECONDS = 0.25  # how often a job that waits for the engine looks whether it was stopped
LOOK_SECONDS = 0.005  # how often an engine looks whether a job's forward pass may begin
SMALL = 4  # images; a forward pass of so few is not padded


# takes the requesters of a batch, its squares, uint8 [>=N,R,R,3], of which only the first N count, and its
# probabilities [N,C]
Offer = Callable[[Sequence[Requester], np.ndarray, np.ndarray], None]


class _Background(NamedTuple):
    images: np.ndarray
    future: "Future[tuple[np.ndarray, np.ndarray]]"


def forward_sizes(forward_images: int) -> list[int]:
    """The batch sizes of forward passes: all small ones, powers of two, and the largest. An engine sees no other."""
    return [size for size in range(1, forward_images) if size <= SMALL or size & (size - 1) == 0] + [forward_images]


def warm_up(engine: Predictor, forward_images: int) -> None:
    """Run every batch size once, so that no request waits while an engine plans its memory. Raises WorkFailed."""
    side = engine.contract.resize
    for size, _ in product(forward_sizes(forward_images), range(engine.streams)):
        try:
            engine.forward(np.zeros((size, side, side, 3), np.uint8))
        except Exception as error:  # each runtime raises types of its own
            what = f"{engine.name}: a forward of {size} images fails: {one_line(error)}"
            raise WorkFailed(what, "set TENCROP_FORWARD_VIEWS lower") from None


class Batcher:
    """Batches the images of callers, and gives each caller its own row.

    `engines` are one model on one device or on several; each has a thread for each of its streams. A forward pass takes
    at most `forward_images`. A job's forward pass begins only while `count_admitted` finds no image of a request.
    `offer`, where there is one, gets each batch once its answers are on their way, but for images that asked for
    features.
    """

    def __init__(
        self,
        engines: Sequence[Predictor],
        forward_images: int,
        metrics: Metrics,
        count_admitted: Callable[[], int] = lambda: 0,
        offer: Offer | None = None,
    ) -> None:
        self.model = engines[0]
        self._forward_images, self._metrics, self._count_admitted = forward_images, metrics, count_admitted
        self._sizes, self._offer = forward_sizes(forward_images), offer
        self._views = len(self.model.contract.views)
        self._queue: Turns[Waiting] = Turns()
        self._background: _Background | None = None  # taken when no image waits or is admitted
        self._wake = threading.Condition()
        self._stopping = self._retired = False
        self._holders = 0  # jobs, which keep the engines of a retired batcher open
        self._threads = [
            threading.Thread(target=self._work, args=(each,), name=f"engine {each.name}", daemon=True)
            for each in engines
            for _ in range(each.streams)
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """The number of images that wait."""
        return len(self._queue)

    @property
    def is_alive(self) -> bool:
        """Return whether all engines' threads run."""
        return all(thread.is_alive() for thread in self._threads)

    async def answer(
        self, pixels: np.ndarray, requester: Requester, features: FeatureChoice | None = None
    ) -> BatchedAnswer:
        """uint8 [R,R,3] -> its answer. An image whose caller is cancelled leaves the queue before its forward pass.

        Raises NoAnswer where the answer is no number, and what the engine raises.
        """
        waiting = Awaited(pixels, requester, features)
        self.put([waiting])
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self.remove(waiting)
            raise

    def put(self, images: Sequence[Waiting]) -> None:
        """Queue images. Each is settled once, unless it is removed before."""
        with self._wake:
            for waiting in images:
                self._queue.put(waiting.requester, waiting)
            self._wake.notify_all()

    def remove(self, waiting: Waiting) -> bool:
        """Take an image out of the queue. Returns whether it was there; else its forward pass has begun."""
        with self._wake:
            before = len(self._queue)
            self._queue.remove(waiting.requester, waiting)
            return len(self._queue) < before

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

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the engines open until the block ends. Raises Stopped where they close already."""
        with self._wake:
            if self._retired:
                raise Stopped("another model has taken the place of this one")
            self._holders += 1
        try:
            yield
        finally:
            with self._wake:
                self._holders -= 1
                self._wake.notify_all()

    def retire(self) -> None:
        """End the threads and close the engines, once no job holds them. Call when no request will come any more."""
        with self._wake:
            self._retired = True
            self._wake.notify_all()

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
                squares = self._pad([waiting.pixels for waiting in batch])
                stacked = time.perf_counter()
                with self._metrics.time_forward(self.model.name, len(squares) * self._views):
                    outputs = BatchOutputs.compute(engine, squares, [waiting.features for waiting in batch])
                computed = time.perf_counter()
                waits = [started - waiting.since for waiting in batch]
                self._metrics.count_images(self.model.name, waits)
                answers = outputs.make_results(waits, computed - started)
                parts = (stacked - started, computed - stacked, time.perf_counter() - computed)
                self._metrics.count_batch(self.model.name, len(batch), parts)
                deliver(batch, answers)
            except Exception as error:  # goes to the callers; the thread lives on
                deliver(batch, [error] * len(batch))
                continue
            if self._offer:
                named = [index for index, waiting in enumerate(batch) if not waiting.features]
                self._offer([batch[index].requester for index in named], squares[named], outputs.probabilities[named])
        if self._retired:
            for member in engine.members:
                member.close()
            give_back_free_memory()

    def _pad(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Squares as a batch of a size that the engine sees; the first one fills it."""
        size = next(size for size in self._sizes if size >= len(images))
        return np.stack([*images, *[images[0]] * (size - len(images))])

    def _run_background(self, engine: Predictor, task: _Background) -> None:
        try:
            task.future.set_result(engine.forward(task.images))
        except Exception as error:  # as in _work
            task.future.set_exception(error)

    def _take(self) -> list[Waiting] | _Background | None:
        """Wait for the next batch; for a job's forward pass where no image is admitted; None once stopped and done.

        Images whose caller was cancelled are dropped here.
        """
        batch: list[Waiting] = []
        with self._wake:
            while True:
                while self._queue and len(batch) < self._forward_images:
                    waiting = self._queue.take()
                    if waiting.is_wanted:
                        batch.append(waiting)
                if batch:
                    return batch
                if self._stopping or (self._retired and not self._holders):
                    return None
                if self._background and not self._count_admitted():
                    task, self._background = self._background, None
                    return task
                self._wake.wait(LOOK_SECONDS if self._background else None)
