"""Images that wait for their forward passes, and how their results reach who waits."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.requester import Requester


class BatchedAnswer(NamedTuple):
    """One image's row of a forward pass, and the image's times."""

    probabilities: np.ndarray  # [C]
    view_probabilities: np.ndarray  # [10,C]
    queue_seconds: float  # until the forward pass began
    engine_seconds: float  # of the whole forward pass
    features: np.ndarray | None = None  # [K], where they were asked for


Result = BatchedAnswer | Exception  # of an image, or why its forward pass failed


@dataclass(eq=False)
class Waiting:
    """An image, uint8 [R,R,3], that waits for its forward pass since `since` (time.perf_counter).

    Its result is settled in the thread of `loop`. It has features where `features` asks for some.
    """

    pixels: np.ndarray
    requester: Requester
    since: float
    loop: asyncio.AbstractEventLoop
    features: FeatureChoice | None

    @property
    def is_wanted(self) -> bool:
        """Return whether somebody still waits for the answer."""
        return True

    def settle(self, result: Result) -> None:
        """Take the result."""
        raise NotImplementedError


class Awaited(Waiting):
    """An image that a coroutine waits for."""

    def __init__(self, pixels: np.ndarray, requester: Requester, features: FeatureChoice | None = None) -> None:
        super().__init__(pixels, requester, time.perf_counter(), asyncio.get_running_loop(), features)
        self.future: asyncio.Future[BatchedAnswer] = self.loop.create_future()

    @property
    def is_wanted(self) -> bool:
        return not self.future.done()  # else cancelled

    def settle(self, result: Result) -> None:
        if not self.is_wanted:
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


def deliver(batch: Sequence[Waiting], results: Sequence[Result]) -> None:
    """Settle the images, each in its own event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Waiting, Result]]] = {}
    for waiting, result in zip(batch, results, strict=True):
        by_loop.setdefault(waiting.loop, []).append((waiting, result))
    for loop, settled in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, settled)


def _settle(results: list[tuple[Waiting, Result]]) -> None:
    for waiting, result in results:
        waiting.settle(result)
