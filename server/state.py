"""ServerState: everything that the running server holds. Routes take it as `state: State`."""

import logging
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from tencrop.common.errors import WorkFailed
from tencrop.common.extras import require
from tencrop.model.measured_errors import MeasuredErrors
from tencrop.runtime.ensemble import Predictor
from tencrop.server.admission import Admission
from tencrop.server.batcher import Batcher
from tencrop.server.decode_pool import DecodePool
from tencrop.server.errors import ApiError, shutting_down_error
from tencrop.server.job_store import JobStore
from tencrop.server.metrics import Metrics
from tencrop.server.pipeline import Pipeline
from tencrop.server.settings import Settings

if TYPE_CHECKING:
    from tencrop.server.jobs import Jobs

LAST_SECONDS = 1.0  # in which a job may stop when the time to drain is over already

log = logging.getLogger("uvicorn.error")


class ServerState:
    """One for each process. Several models of one name are one model on several devices."""

    def __init__(
        self,
        models: Sequence[Predictor],
        errors: Mapping[str, MeasuredErrors | None],
        settings: Settings,
        store: JobStore | None,
    ) -> None:
        self.errors = errors  # that a model expects, by its name
        self.settings = settings
        self.metrics = Metrics()
        self.decode_pool = DecodePool()
        names = dict.fromkeys(model.name for model in models)  # in their order
        self.pipelines = {name: self._open_pipeline([m for m in models if m.name == name]) for name in names}
        self.draining = False  # set at SIGTERM
        self._drain_due = 0.0  # time.monotonic() when draining has to be over
        self.event_streams = 0  # that follow a validation
        self.lacking = ""  # what validations need and is not installed, with the line that installs it
        self.jobs = self._open_jobs(store) if store else None

    def find_pipeline(self, name: str | None, unknown: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> Pipeline:
        """The pipeline of the model of that name, of the first model without a name.

        Raises ApiError with the status `unknown` for a name that no model has, 503 while draining.
        """
        if self.draining:
            raise shutting_down_error()
        wanted = next(iter(self.pipelines)) if name is None else name
        if wanted not in self.pipelines:
            raise ApiError(unknown, "unknown_model", f"no model {wanted!r}; served are {', '.join(self.pipelines)}")
        return self.pipelines[wanted]

    def check_ready(self) -> None:
        """Check that the server can answer. Raises ApiError 503 while it drains, or if an engine's thread has ended."""
        if self.draining:
            raise shutting_down_error()
        dead = [name for name, pipeline in self.pipelines.items() if not pipeline.batcher.is_alive]
        if dead:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", f"the engine of {dead[0]} has stopped")

    def drain(self) -> None:
        """Refuse new requests, end event streams, stop the job that runs."""
        if not self.draining:
            self.draining, self._drain_due = True, time.monotonic() + self.settings.drain_seconds

    def close(self) -> None:
        """Finish the admitted images and end all threads. An unfinished job goes on when the server starts again."""
        self.drain()
        if self.jobs:
            self.jobs.close(max(LAST_SECONDS, self._drain_due - time.monotonic()))
        for pipeline in self.pipelines.values():
            pipeline.batcher.stop()
        self.decode_pool.close()

    def _open_pipeline(self, engines: Sequence[Predictor]) -> Pipeline:
        model, settings = engines[0], self.settings
        batcher = Batcher(engines, settings.forward_images(model), self.metrics)
        admission = Admission(model.name, settings.queue_images(model), self.metrics)
        return Pipeline(batcher, admission, self.decode_pool, settings.deadline_seconds)

    def _open_jobs(self, store: JobStore) -> "Jobs | None":
        """Start the jobs, or log what they lack: a server without the extra `evaluate` answers images all the same."""
        try:
            require("evaluate")
        except WorkFailed as missing:
            self.lacking = str(missing)
            log.warning("validations are off: %s", missing)
            store.close()
            return None
        from tencrop.server.jobs import Jobs  # imports pyarrow: 30 MiB that a server without a data root does not need

        batchers = {name: pipeline.batcher for name, pipeline in self.pipelines.items()}
        return Jobs(store, batchers, lambda: self.draining, self.settings.keep_validations)


async def _get_state(request: Request) -> ServerState:
    """Asynchronous, for FastAPI would call a plain function in a thread."""
    return cast(ServerState, request.app.state.server_state)


State = Annotated[ServerState, Depends(_get_state)]
