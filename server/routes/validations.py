"""/v1/validations: create, list, follow and end validations of data sets below --data-root."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tencrop.server.body_images import describe_body, refer
from tencrop.server.errors import ApiError
from tencrop.server.failures import Responses, describe_failures
from tencrop.server.hardening_headers import EVERYWHERE, POLICY
from tencrop.server.json_body import JSON, read_json
from tencrop.server.known_parameters import KnownParametersRoute
from tencrop.server.schemas import FINISHED, NewValidation, Validation
from tencrop.server.state import ServerState, State
from tencrop.server.whole_file import WholeFile

if TYPE_CHECKING:
    from tencrop.server.jobs import Jobs

TICK = 0.25  # seconds between two looks at a job
MAX_STREAMS = 64  # at once; one more is answered 429
HEARTBEAT = 15.0  # seconds without an event after which a comment is sent
BODY = describe_body({JSON: refer(NewValidation)})
PAGE = 100  # validations in one answer, where the client does not say
MAX_PAGE = 1000
REPORT_RULES = (  # the file itself allows its own script alone
    f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; {EVERYWHERE}"
)
STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # so that a proxy passes each event on at once

TEXT = {"type": "string"}
CREATED: Responses = {202: {"headers": {"Location": {"schema": TEXT}}}}
LISTED: Responses = {200: {"headers": {"Link": {"description": 'the next page (rel="next")', "schema": TEXT}}}}
EVENTS: Responses = {200: {"content": {"text/event-stream": {"schema": TEXT}}}}
REPORT: Responses = {200: {"content": {"text/html": {"schema": TEXT}}}}

router = APIRouter(
    prefix="/v1/validations",
    tags=["validations"],
    route_class=KnownParametersRoute,
    responses=describe_failures(404, 422, 501),
)


async def _get_jobs(state: State) -> Any:
    """Return the jobs of the server. Raises ApiError 404 without a data root, 501 without the packages for jobs."""
    if state.lacking:
        raise ApiError(HTTPStatus.NOT_IMPLEMENTED, "not_installed", f"validations are off: {state.lacking}")
    if state.jobs is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "validations_off", "validations are off: the server has no data root")
    return state.jobs


Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="how many validations")]
Before = Annotated[str | None, Query(pattern="^[0-9a-f]{24}$", description="only validations older than this id")]
Cancel = Annotated[bool, Query(description="cancel only: a finished validation is kept, and answered 409")]
Name = Annotated[str, Path(description="the id of a validation")]
OpenJobs = Annotated["Jobs", Depends(_get_jobs)]


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=BODY,
    responses={**CREATED, **describe_failures(400, 413, 415, 429, 503, 504, 507)},
)
async def create_validation(request: Request, state: State, jobs: OpenJobs, response: Response) -> Validation:
    """Queue a validation. One runs at a time, and requests go before it."""
    asked = await read_json(request, NewValidation)
    job: Validation = await run_in_threadpool(jobs.create, asked, state.find_pipeline(asked.model).model.name)
    response.headers["Location"] = f"{state.settings.root_path}{router.prefix}/{job.id}"
    return job


@router.get("", responses=LISTED)
def list_validations(
    jobs: OpenJobs, response: Response, limit: Limit = PAGE, before: Before = None
) -> list[Validation]:
    """Validations, the newest first. Where older ones follow, the header Link leads to them (rel="next")."""
    found = jobs.list_newest(limit + 1, before)
    if len(found) > limit:
        response.headers["Link"] = f'<?limit={limit}&before={found[limit - 1].id}>; rel="next"'
    return found[:limit]


@router.get("/{name}")
def get_validation(name: Name, jobs: OpenJobs) -> Validation:
    """The state of a validation, and its summary once it is done."""
    return jobs.get(name)


@router.get("/{name}/events", response_class=StreamingResponse, responses={**EVENTS, **describe_failures(429)})
async def follow_validation(name: Name, request: Request, state: State, jobs: OpenJobs) -> StreamingResponse:
    """Server-sent events: `progress` at once and whenever the validation changes, `end` when it is finished."""
    jobs.get(name)
    if not state.event_streams.add(1, MAX_STREAMS):
        what = f"{MAX_STREAMS} event streams are open; try again"
        raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, "queue_full", what, {"Retry-After": f"{HEARTBEAT:.0f}"})
    return _EventStream(follow(lambda: jobs.get(name), request.is_disconnected, lambda: state.draining), state)


@router.get("/{name}/report", response_class=WholeFile, responses={**REPORT, **describe_failures(409, 410)})
def get_report(name: Name, jobs: OpenJobs) -> WholeFile:
    """The report.html of a validation that is done."""
    return WholeFile(jobs.report(name), media_type="text/html", headers={POLICY: REPORT_RULES})


@router.delete("/{name}", status_code=HTTPStatus.NO_CONTENT, responses=describe_failures(409, 507))
def delete_validation(name: Name, jobs: OpenJobs, cancel: Cancel = False) -> None:
    """Cancel a validation, or remove a finished one. `cancel=true` keeps a finished one and answers 409."""
    jobs.delete(name, cancel)


class _EventStream(StreamingResponse):
    """An answer of server-sent events, which counts as open until its end."""

    def __init__(self, events: AsyncIterator[str], state: ServerState) -> None:
        super().__init__(events, media_type="text/event-stream", headers=STREAM)
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._state.event_streams.add(-1)


async def follow(
    look: Callable[[], Validation], gone: Callable[[], Awaitable[bool]], draining: Callable[[], bool]
) -> AsyncIterator[str]:
    """The events of a job, until the job is finished or removed, the client is gone, or the server drains."""
    shown, silent = None, 0.0  # the state that was sent last; seconds since then
    while not draining() and not await gone():
        try:
            job = look()
        except ApiError:  # the job was removed
            return
        if job != shown:
            yield _event("progress", job)
            shown, silent = job, 0.0
        if job.status in FINISHED:
            yield _event("end", job)
            return
        if silent >= HEARTBEAT:
            yield ": still here\n\n"
            silent = 0.0
        await asyncio.sleep(TICK)
        silent += TICK


def _event(kind: str, job: Validation) -> str:
    return f"event: {kind}\ndata: {job.model_dump_json()}\n\n"
