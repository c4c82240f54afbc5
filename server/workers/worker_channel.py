"""WorkerChannel: the engine process's end of its line to one worker."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from tencrop.runtime.prediction import NoAnswer
from tencrop.server.batcher import Batcher
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.requester import Requester
from tencrop.server.waiting import Result, Waiting
from tencrop.server.workers.records import (
    ANSWER,
    ANSWERED,
    ASK,
    ASKING,
    FAILED,
    LEFT,
    NO_ANSWER,
    Answered,
    Asking,
    Parts,
)
from tencrop.server.workers.slots import Slots

MAX_WORKERS = 1 << 16

log = logging.getLogger("uvicorn.error")


class _Asked(Waiting):
    """The image in a worker's slot, which waits for its forward pass."""

    def __init__(
        self, channel: "WorkerChannel", asking: Asking, pixels: np.ndarray, features: FeatureChoice | None
    ) -> None:
        super().__init__(pixels, channel.identify(asking), asking.since, channel.loop, features)
        self.model, self.slot, self._channel = asking.model, asking.slot, channel

    def settle(self, result: Result) -> None:
        self._channel.settle(self, result)


class WorkerChannel(asyncio.Protocol):
    """Queues a worker's images and sends back what became of them. Calls `on_end` once nothing of the worker is left.

    An engine may still compute an image of a worker that has ended; its slots must not be used until then.
    """

    def __init__(self, worker: int, slots: Slots, queues: Sequence[Batcher], on_end: Callable[[int], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self._worker, self._slots, self._queues, self._on_end = worker, slots, queues, on_end
        self._asked: dict[int, _Asked] = {}  # by slot
        self._parts, self._answers = Parts(ASKING), bytearray()
        self._transport: asyncio.Transport | None = None  # None once the worker has ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        new: list[list[_Asked]] = [[] for _ in self._queues]
        for fields in self._parts.feed(data):
            asking = Asking(*fields)  # type: ignore[arg-type]
            if asking.kind == ASK:
                pixels = self._slots.pixels(self._worker, asking.slot, asking.model)
                features = self._slots.choices[asking.model][asking.features - 1] if asking.features else None
                asked = self._asked[asking.slot] = _Asked(self, asking, pixels, features)
                new[asking.model].append(asked)
            elif (left := self._asked.get(asking.slot)) and self._remove(left, new[left.model]):
                self._answer(Answered(LEFT, asking.slot, 0, 0))
        for queue, images in zip(self._queues, new, strict=True):
            if images:
                queue.put(images)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for asked in list(self._asked.values()):
            self._remove(asked, [])
        self._end()

    def identify(self, asking: Asking) -> Requester:
        """The requester of an image. Each worker counts its requests from zero; numbers below come from ids."""
        number = asking.number if asking.number < 0 else asking.number * MAX_WORKERS + self._worker
        return Requester(str(asking.client), number)

    def settle(self, asked: _Asked, result: Result) -> None:
        """Put an image's answer into its slot."""
        del self._asked[asked.slot]
        if not self._transport:
            self._end()
        elif isinstance(result, NoAnswer):
            self._answer(Answered(NO_ANSWER, asked.slot, 0, 0))
        elif isinstance(result, Exception):
            log.error("a forward pass failed", exc_info=result)
            self._answer(Answered(FAILED, asked.slot, 0, 0))
        else:
            rows = self._slots.rows(self._worker, asked.slot, asked.model)
            rows[0], rows[1:] = result.probabilities, result.view_probabilities
            if asked.features:
                self._slots.features(self._worker, asked.slot, asked.model, asked.features.layer)[...] = result.features
            self._answer(Answered(ANSWERED, asked.slot, result.queue_seconds, result.engine_seconds))

    def _remove(self, asked: _Asked, new: list[_Asked]) -> bool:
        """Take an image out of its queue, or of those that are about to be queued. Returns whether it was there."""
        if asked in new:
            new.remove(asked)
        elif not self._queues[asked.model].remove(asked):
            return False
        del self._asked[asked.slot]
        return True

    def _answer(self, answered: Answered) -> None:
        """Send a record, with all others of this turn of the loop."""
        if not self._answers:
            self.loop.call_soon(self._send)
        self._answers += ANSWER.pack(*answered)

    def _send(self) -> None:
        if self._transport:
            self._transport.write(bytes(self._answers))
        self._answers.clear()

    def _end(self) -> None:
        if not self._asked:
            self._on_end(self._worker)
