"""ServerState: everything that a process of the running server answers with. Routes take it as `state: State`."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Protocol, cast

from fastapi import Depends, Request

from tencrop.server.admission import Admission
from tencrop.server.decode_pool import DecodePool
from tencrop.server.errors import ApiError, shutting_down_error
from tencrop.server.loaded_model import LoadedModel
from tencrop.server.metrics import Metrics
from tencrop.server.open_spans import open_spans
from tencrop.server.pipeline import Answering, Pipeline
from tencrop.server.requester import identify_by_id, identify_requester
from tencrop.server.server_counts import ServerCounts
from tencrop.server.settings import Settings

if TYPE_CHECKING:
    from tencrop.server.jobs import Jobs
    from tencrop.server.repository import Repository
    from tencrop.server.shadow import Shadow
    from tencrop.server.workers.remote_engines import RemoteJobs, RemoteShadow


class Computing(Protocol):
    """The part of the server that computes: Engines of this process, or those of another."""

    models: Sequence[LoadedModel]
    lacking: str  # what validations need and is not installed, with the line that installs it

    @property
    def jobs(self) -> "Jobs | RemoteJobs | None":
        """The validations; None where there are none."""
        ...

    @property
    def shadow(self) -> "Shadow | RemoteShadow | None":
        """What compares the answers of the first model with another's; None where nothing does."""
        ...

    @property
    def queues(self) -> Mapping[str, Answering]:
        """The queue in front of each model's engines."""
        ...

    def count_waiting(self) -> Mapping[str, int]:
        """The number of images that wait for an engine, by model."""
        ...

    def drain(self) -> None:
        """Prepare for the end."""
        ...

    def close(self) -> None:
        """End."""
        ...


class ServerState:
    """One for each process that answers requests. `decoders` is its share of the machine's cores; None: all."""

    def __init__(
        self,
        computing: Computing,
        settings: Settings,
        counts: ServerCounts,
        metrics: Metrics,
        decoders: int | None = None,
    ) -> None:
        self._computing, self.settings, self.metrics = computing, settings, metrics
        self.event_streams = counts.event_streams
        self.spans = open_spans(settings)
        self.decode_pool = DecodePool(decoders)
        self.draining = False  # set at SIGTERM
        self.jobs, self.lacking, self.shadow = computing.jobs, computing.lacking, computing.shadow
        self.repository: Repository | None = None  # loads and unloads models; None where nothing does
        self.pipelines: Mapping[str, Pipeline] = {}  # never changes, but is replaced: threads read it
        metrics.watch(computing.count_waiting, self._count_admitted)
        for number, model in enumerate(computing.models):
            self.put_model(model, computing.queues[model.name], counts.open_admission(number, model.queue_images))

    def put_model(self, model: LoadedModel, queue: Answering, admission: Admission) -> Pipeline | None:
        """Serve a model from now on -> the pipeline whose place it takes, if any, which finishes its own requests."""
        old = self.pipelines.get(model.name)
        pipeline = Pipeline(
            model,
            queue,
            admission,
            self.decode_pool,
            self.metrics,
            self.settings.deadline_seconds,
            identify_by_id if self.settings.feedback else identify_requester,
            self.spans,
        )
        self.pipelines = {**self.pipelines, model.name: pipeline}
        self.metrics.set_engine(model.name, model.engine_info._asdict())
        return old

    def remove_model(self, name: str) -> Pipeline:
        """Serve a model no longer -> its pipeline, which finishes its own requests."""
        removed = self.pipelines[name]
        self.pipelines = {other: pipeline for other, pipeline in self.pipelines.items() if other != name}
        self.metrics.remove_engine(name)
        return removed

    def find_pipeline(self, name: str | None, unknown: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> Pipeline:
        """The pipeline of the model of that name, of the first model without a name.

        Raises ApiError with the status `unknown` for a name that no model has, 503 while draining.
        """
        if self.draining:
            raise shutting_down_error()
        pipelines = self.pipelines
        wanted = next(iter(pipelines)) if name is None else name
        if wanted not in pipelines:
            raise ApiError(unknown, "unknown_model", f"no model {wanted!r}; served are {', '.join(pipelines)}")
        return pipelines[wanted]

    def check_ready(self) -> None:
        """Check that the server can answer. Raises ApiError 503 while it drains, or if an engine's thread has ended."""
        if self.draining:
            raise shutting_down_error()
        dead = [name for name, pipeline in self.pipelines.items() if not pipeline.queue.is_alive]
        if dead:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", f"the engine of {dead[0]} has stopped")

    def drain(self) -> None:
        """Refuse new requests, end event streams, stop the job that runs."""
        self.draining = True
        self._computing.drain()

    def close(self) -> None:
        """Finish the admitted images and end all threads."""
        self.drain()
        if self.repository:
            self.repository.close()
        self._computing.close()
        self.decode_pool.close()
        if self.spans:
            self.spans.close()

    def _count_admitted(self) -> dict[str, int]:
        return {name: pipeline.admission.count_admitted() for name, pipeline in self.pipelines.items()}


async def _get_state(request: Request) -> ServerState:
    """Asynchronous, for FastAPI would call a plain function in a thread."""
    return cast(ServerState, request.app.state.server_state)


State = Annotated[ServerState, Depends(_get_state)]
