"""/v2/repository: Triton's extension that lists the models of the repository, loads and unloads them."""

from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel

from tencrop.server.body_images import describe_body, refer
from tencrop.server.body_stream import read_body
from tencrop.server.errors import ApiError, bad_request_error
from tencrop.server.failures import describe_failures, describe_rest
from tencrop.server.json_body import JSON, MAX_SMALL_JSON, parse_json
from tencrop.server.known_parameters import MAX_NAME
from tencrop.server.oip.schemas import IndexRequest, ModelIndex, RepositoryRequest
from tencrop.server.oip.served_model import PIXELS, VERSION
from tencrop.server.repository import Repository
from tencrop.server.schemas import ProtocolFailure
from tencrop.server.state import State

FAILURES = describe_failures(400, 403, 404, 409, 413, 415, 429, 503, 504, kind=ProtocolFailure)
CHANGE = describe_body({JSON: refer(RepositoryRequest)}, required=False)
FILTER = describe_body({JSON: refer(IndexRequest)}, required=False)

Document = TypeVar("Document", bound=BaseModel)
ModelName = Annotated[str, Path(description="a model of the repository; it stands for NAME-pixels, too")]

router = APIRouter(
    prefix="/v2/repository",
    tags=["Open Inference Protocol"],
    responses={**describe_failures(500, kind=ProtocolFailure), **describe_rest(ProtocolFailure)},
)


async def _get_repository(request: Request, state: State) -> Any:
    """Return the repository. Raises ApiError 404 where there is none, 403 where the server asks for no keys."""
    if state.repository is None:
        what = "no model can be loaded or unloaded: start the server with --model-repository"
        raise ApiError(HTTPStatus.NOT_FOUND, "repository_off", what)
    if "tencrop.key" not in request.scope:
        what = "only the owner of a key may load and unload: start the server with --api-key-file"
        raise ApiError(HTTPStatus.FORBIDDEN, "keys_off", what)
    return state.repository


OpenedRepository = Annotated[Repository, Depends(_get_repository)]


@router.post("/index", openapi_extra=FILTER, responses=FAILURES)
async def repository_index(request: Request, state: State) -> list[ModelIndex]:
    """The served models, then those of the repository that are not served. Each has both of its names."""
    asked = await _read(request, IndexRequest)
    unserved = await state.repository.list_unserved() if state.repository and not asked.ready else {}
    served = {name: state.repository.find_failure(name) if state.repository else "" for name in state.pipelines}
    states = [("READY", served), ("UNAVAILABLE", unserved)]
    return [
        ModelIndex(name=name + end, version=VERSION, state=word, reason=reason)
        for word, models in states
        for name, reason in models.items()
        for end in ("", PIXELS)
    ]


@router.post("/models/{name}/load", openapi_extra=CHANGE, responses=FAILURES)
async def load_model(request: Request, name: ModelName, repository: OpenedRepository) -> dict[str, str]:
    """Read a model's file, and serve it in place of the model of that name. If that fails, the model before goes on."""
    await _check_parameters(request, ())
    await repository.load(name)
    return {}


@router.post("/models/{name}/unload", openapi_extra=CHANGE, responses=FAILURES)
async def unload_model(request: Request, name: ModelName, repository: OpenedRepository) -> dict[str, str]:
    """Serve a model no longer, once it has answered the requests that it has."""
    await _check_parameters(request, ("unload_dependents",))  # no model depends on another
    await repository.unload(name)
    return {}


async def _check_parameters(request: Request, known: tuple[str, ...]) -> None:
    """Read a request's parameters. Raises ApiError 400 for one that is not taken, such as another configuration."""
    asked = await _read(request, RepositoryRequest)
    if unknown := next((name for name in asked.parameters if name not in known), None):
        raise bad_request_error(f"parameter {unknown[:MAX_NAME]!r}: not taken; the file alone decides")


async def _read(request: Request, kind: type[Document]) -> Document:
    """Read a body of JSON, which may be empty. Raises ApiError 400 where it does not fit."""
    body = await read_body(request, MAX_SMALL_JSON)
    try:
        return parse_json(kind, body or b"{}")
    except ApiError as error:
        raise bad_request_error(str(error)) from None  # the protocol's status
