"""What the running server holds: its models, each with a batcher, and the decode pool. Routes get it as `State`."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from tencrop.runtime.cores import cores
from tencrop.runtime.ensemble import Predictor
from tencrop.server.batcher import Batcher
from tencrop.server.errors import ApiError, shutting_down_error
from tencrop.server.job_store import JobStore
from tencrop.server.metrics import Metrics
from tencrop.server.settings import Settings

if TYPE_CHECKING:
    from tencrop.server.jobs import Jobs

LAST_SECONDS = 1.0  # that a job has to stop in, when the time to drain is over


class ServerState:
    """One a process. Several models of one name are one model on several devices."""

    def __init__(self, models: Sequence[Predictor], settings: Settings, store: JobStore | None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.batchers = {
            name: self._batcher([m for m in models if m.name == name]) for name in dict.fromkeys(m.name for m in models)
        }
        self.decoders = ThreadPoolExecutor(cores(), "decode")
        self.large_decoder = ThreadPoolExecutor(
            1, "decode large"
        )  # one at a time, beside the others: small images never wait for it
        self.draining = False  # set at SIGTERM
        self._drained = 0.0  # when that has to be over
        self.jobs = self._open_jobs(store) if store else None

    def batcher(self, name: str | None) -> Batcher:
        """The model of that name, the first one where none is named. Raises ApiError."""
        if self.draining:
            raise shutting_down_error()
        wanted = next(iter(self.batchers)) if name is None else name
        if wanted not in self.batchers:
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "unknown_model",
                f"no model {wanted!r}; served are {', '.join(self.batchers)}",
            )
        return self.batchers[wanted]

    def check_ready(self) -> None:
        """Raises ApiError 503 where something that should answer does not."""
        if self.draining:
            raise shutting_down_error()
        dead = [name for name, batcher in self.batchers.items() if not batcher.alive]
        if dead:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", f"the engine of {dead[0]} has stopped")

    def drain(self) -> None:
        """Take nothing new, end event streams, stop the job that runs."""
        if not self.draining:
            self.draining, self._drained = True, time.monotonic() + self.settings.drain_seconds

    def close(self) -> None:
        """Finish what was admitted; a job goes on when the server is started again."""
        self.drain()
        if self.jobs:
            self.jobs.close(max(LAST_SECONDS, self._drained - time.monotonic()))
        for batcher in self.batchers.values():
            batcher.stop()
        for pool in (self.decoders, self.large_decoder):
            pool.shutdown(cancel_futures=True)

    def _batcher(self, engines: Sequence[Predictor]) -> Batcher:
        return Batcher(
            engines, self.settings.forward_images(engines[0]), self.settings.queue_images(engines[0]), self.metrics
        )

    def _open_jobs(self, store: JobStore) -> "Jobs":
        from tencrop.server.jobs import Jobs  # with pyarrow: 30 MiB that a server without a data root does not need

        return Jobs(store, self.batchers, lambda: self.draining)


async def _get_state(
    request: Request,
) -> ServerState:  # async: else each request would wait for a thread to read one attribute in
    return cast(ServerState, request.app.state.server_state)


State = Annotated[ServerState, Depends(_get_state)]
