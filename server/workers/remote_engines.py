"""RemoteEngines: the engine process, as a worker uses it in place of Engines."""

import asyncio
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from tencrop.common.errors import WorkFailed
from tencrop.runtime.prediction import NoAnswer
from tencrop.server.errors import shutting_down_error
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.requester import Requester
from tencrop.server.schemas import NewValidation, Validation
from tencrop.server.shadow_schemas import Feedback, NewFeedback, ShadowState
from tencrop.server.waiting import BatchedAnswer
from tencrop.server.workers.calls import Caller
from tencrop.server.workers.loaded import Loaded
from tencrop.server.workers.records import (
    ANSWER,
    ANSWERED,
    ASK,
    ASKING,
    FAILED,
    LEAVE,
    NO_ANSWER,
    Answered,
    Asking,
    Parts,
)
from tencrop.server.workers.slots import Slots


class _Image(NamedTuple):
    """The image in a slot: its model's number, the features that are asked for, and the future of its answer."""

    model: int
    features: FeatureChoice | None
    future: "asyncio.Future[BatchedAnswer]"


class EngineChannel(asyncio.Protocol):
    """A worker's end of its line to the engine process."""

    def __init__(self, worker: int, slots: Slots) -> None:
        self._worker, self._slots = worker, slots
        self._free: asyncio.LifoQueue[int] = asyncio.LifoQueue()
        for slot in reversed(range(slots.of_worker)):
            self._free.put_nowait(slot)
        self._asked: dict[int, _Image] = {}  # by slot
        self._parts = Parts(ANSWER)
        self._transport: asyncio.Transport | None = None

    @property
    def is_alive(self) -> bool:
        """Return whether the engine process lives."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        signal.raise_signal(signal.SIGTERM)  # without the engine process a worker ends
        for asked in self._asked.values():
            if not asked.future.done():
                asked.future.set_exception(shutting_down_error())

    async def answer(
        self, model: int, pixels: np.ndarray, requester: Requester, features: FeatureChoice | None
    ) -> BatchedAnswer:
        """As Batcher.answer. A slot whose caller is cancelled is free again once the engine process says so."""
        slot = await self._free.get()
        if not self._transport:
            raise shutting_down_error()
        self._slots.pixels(self._worker, slot, model)[...] = pixels
        choice = 1 + self._slots.choices[model].index(features) if features else 0
        asked = self._asked[slot] = _Image(model, features, asyncio.get_running_loop().create_future())
        self._send(Asking(ASK, choice, model, slot, hash(requester.client), requester.number, time.perf_counter()))
        try:
            return await asked.future
        except asyncio.CancelledError:
            if self._asked.get(slot) is asked:  # else it was answered at the same moment
                self._send(Asking(LEAVE, 0, model, slot, 0, 0, 0))
            raise

    def data_received(self, data: bytes) -> None:
        for fields in self._parts.feed(data):
            answered = Answered(*fields)  # type: ignore[arg-type]
            asked = self._asked.pop(answered.slot)
            if not asked.future.done():  # else cancelled
                self._settle(asked, answered)
            self._free.put_nowait(answered.slot)

    def _settle(self, asked: _Image, answered: Answered) -> None:
        model, choice, future = asked
        if answered.status == ANSWERED:
            rows, features = self._slots.rows(self._worker, answered.slot, model).copy(), None
            if choice:
                features = self._slots.features(self._worker, answered.slot, model, choice.layer).copy()
            times = answered.queue_seconds, answered.engine_seconds
            future.set_result(BatchedAnswer(rows[0], rows[1:], *times, features))
        elif answered.status == NO_ANSWER:
            future.set_exception(NoAnswer())
        elif answered.status == FAILED:
            future.set_exception(WorkFailed("a forward pass failed; the engine process logged why"))

    def _send(self, asking: Asking) -> None:
        if self._transport:
            self._transport.write(ASKING.pack(*asking))


class RemoteQueue:
    """The queue of one model."""

    def __init__(self, channel: EngineChannel, model: int) -> None:
        self._channel, self._model = channel, model

    @property
    def is_alive(self) -> bool:
        """Return whether the engine process lives."""
        return self._channel.is_alive

    async def answer(
        self, pixels: np.ndarray, requester: Requester, features: FeatureChoice | None = None
    ) -> BatchedAnswer:
        """As Batcher.answer."""
        return await self._channel.answer(self._model, pixels, requester, features)


class RemoteJobs:
    """The validations of the engine process: the methods of Jobs that routes call, which raise the same errors."""

    def __init__(self, caller: Caller) -> None:
        self._call = caller.call

    def create(self, asked: NewValidation, model: str) -> Validation:
        """As Jobs.create."""
        return cast(Validation, self._call("create", asked, model))

    def list_folders(self, below: str) -> list[str]:
        """As Jobs.list_folders."""
        return cast(list[str], self._call("list_folders", below))

    def list_newest(self, limit: int, before: str | None = None) -> list[Validation]:
        """As Jobs.list_newest."""
        return cast(list[Validation], self._call("list_newest", limit, before))

    def get(self, job_id: str) -> Validation:
        """As Jobs.get."""
        return cast(Validation, self._call("get", job_id))

    def report(self, job_id: str) -> Path:
        """As Jobs.report."""
        return cast(Path, self._call("report", job_id))

    def delete(self, job_id: str, cancel: bool = False) -> None:
        """As Jobs.delete."""
        self._call("delete", job_id, cancel)


class RemoteShadow:
    """The shadow of the engine process: the methods of Shadow that routes call, which raise the same errors."""

    def __init__(self, caller: Caller, model: str) -> None:
        self.name, self._call = model, caller.call

    def describe(self) -> ShadowState:
        """As Shadow.describe."""
        return cast(ShadowState, self._call("describe"))

    def give_label(self, given: NewFeedback) -> Feedback:
        """As Shadow.give_label."""
        return cast(Feedback, self._call("give_label", given))


class RemoteEngines:
    """The models, queues, validations and shadow of the engine process, as a worker uses them."""

    def __init__(self, loaded: Loaded, channel: EngineChannel, caller: Caller) -> None:
        self.models, self.lacking = loaded.models, loaded.lacking
        self.queues = {model.name: RemoteQueue(channel, number) for number, model in enumerate(loaded.models)}
        self.jobs = RemoteJobs(caller) if loaded.has_jobs else None
        self.shadow = RemoteShadow(caller, loaded.models[0].name) if loaded.has_shadow else None
        self._caller = caller

    def count_waiting(self) -> Mapping[str, int]:
        """The number of images that wait for an engine, by model."""
        return cast(Mapping[str, int], self._caller.call("count_waiting"))

    def drain(self) -> None:
        """The supervisor tells the engine process to drain."""

    def close(self) -> None:
        """The engine process ends after its workers."""
