"""The process with the engines: opens the models, then answers the workers until the supervisor ends it."""

import asyncio
import logging
import os
import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from uvicorn.loops.auto import auto_loop_factory

from tencrop.common.errors import TencropError, WorkFailed
from tencrop.server.engines import Engines, describe_models
from tencrop.server.job_store import open_job_store
from tencrop.server.metrics import Metrics
from tencrop.server.open_models import OpenModels
from tencrop.server.settings import Settings
from tencrop.server.workers.calls import answer_calls
from tencrop.server.workers.loaded import Loaded
from tencrop.server.workers.shared import ENGINE, Shared
from tencrop.server.workers.slots import Slots
from tencrop.server.workers.worker_channel import WorkerChannel

LOOK_SECONDS = 1.0  # how often the process looks whether all engines' threads run
MESSAGE_BYTES = 1 << 16
JOB_CALLS = ("create", "list_folders", "list_newest", "get", "report", "delete")
SHADOW_CALLS = ("describe", "give_label")

log = logging.getLogger("uvicorn.error")


def run_engine_process(
    open_models: Callable[[], OpenModels],
    settings: Settings,
    shared: Shared,
    report: Connection,
    control: socket.socket,
) -> None:
    """Send Loaded, or the TencropError that stands in its way; then serve until the end of `control`.

    Raises WorkFailed where an engine's thread has ended.
    """
    shared.join(ENGINE)
    try:
        predictors, shadow = open_models()
        models = describe_models(predictors, settings)
        store = open_job_store(settings)
    except TencropError as error:
        report.send(error)
        return
    counts, slots = shared.map(models)
    counts.take_row(ENGINE, shared.open_lock("counts"))
    for model in models:
        log.info("%s: %s on %s, %s, answers its probe", model.name, *model.engine_info)
    engines = Engines(predictors, models, settings, store, counts, Metrics(), shadow)
    report.send(Loaded(models, engines.jobs is not None, engines.lacking, engines.shadow is not None))
    try:
        with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
            runner.run(_Service(engines, slots, control).run())
    finally:
        engines.close()
        shared.close()  # the supervisor may have been killed


class _Service:
    """Follows the supervisor's messages: pairs of a name and an argument, as pickles."""

    def __init__(self, engines: Engines, slots: Slots, control: socket.socket) -> None:
        self._engines, self._slots, self._control = engines, slots, control
        self._queues = list(engines.queues.values())
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        jobs = {name: getattr(engines.jobs, name) for name in JOB_CALLS} if engines.jobs else {}
        shadow = {name: getattr(engines.shadow, name) for name in SHADOW_CALLS} if engines.shadow else {}
        self._calls = {"count_waiting": engines.count_waiting, **jobs, **shadow}

    async def run(self) -> None:
        """Serve until the supervisor closes its end. Raises WorkFailed where an engine's thread has ended."""
        asyncio.get_running_loop().add_reader(self._control, self._receive)
        while not self._ended.is_set():
            if not all(queue.is_alive for queue in self._queues):
                raise WorkFailed("the thread of an engine has ended")
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._ended.wait()
            except TimeoutError:
                continue

    def _receive(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, 2)
        except ConnectionResetError:  # the supervisor has ended and left a message unread
            data, descriptors = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(self._control)
            self._ended.set()
            return
        name, argument = pickle.loads(data)
        if name == "worker" and len(descriptors) < 2:
            log.warning("no file descriptor is left for worker %d, which ends; raise `ulimit -n`", argument)
            for each in descriptors:
                os.close(each)
            self._report(argument)
        elif name == "worker":
            task = asyncio.ensure_future(self._open_channel(argument, *descriptors))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif name == "drain":
            self._engines.drain()
        elif name == "warn":
            log.warning("%s", argument)
        else:
            log.info("%s", argument)
            for handler in logging.getLogger().handlers:
                handler.flush()
            self._report(name)

    async def _open_channel(self, worker: int, images: int, calls: int) -> None:
        answer_calls(Connection(calls), self._calls)
        line = socket.socket(fileno=images)
        line.setblocking(False)
        channel = partial(WorkerChannel, worker, self._slots, self._queues, self._report)
        await asyncio.get_running_loop().create_connection(channel, sock=line)

    def _report(self, message: int | str) -> None:
        """Tell the supervisor, if it lives, that nothing of a worker is left, or that a text is logged."""
        with suppress(OSError):
            self._control.send(pickle.dumps(message))
