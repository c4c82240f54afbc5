"""/v2: the Open Inference Protocol. NAME takes encoded images, NAME-pixels takes uint8 squares."""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Path, Request, Response

from tencrop import __version__
from tencrop.images.errors import ImageError
from tencrop.server.answered import Engine
from tencrop.server.body_images import BINARY, OCTET_STREAM, describe_body, refer
from tencrop.server.body_stream import read_body
from tencrop.server.errors import ApiError, shutting_down_error
from tencrop.server.failures import IMAGE_FAILURES, describe_failures, describe_rest
from tencrop.server.image_answer import ImageAnswer
from tencrop.server.json_body import JSON
from tencrop.server.oip.codec import HEADER_LENGTH, MICRO, ParsedRequest, parse_request, render_response
from tencrop.server.oip.compression import compress
from tencrop.server.oip.schemas import (
    InferRequest,
    InferResponse,
    ModelConfig,
    ModelMetadata,
    ModelReadiness,
    ServerMetadata,
    Statistics,
)
from tencrop.server.oip.served_model import PIXELS, VERSION, ServedModel
from tencrop.server.requester import Requester
from tencrop.server.schemas import ProtocolFailure
from tencrop.server.state import ServerState, State

MESSAGE_COST = 1.0  # in units of `estimate_cost`, of parsing or rendering a message
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]

router = APIRouter(
    prefix="/v2",
    tags=["Open Inference Protocol"],
    responses={**describe_failures(500, kind=ProtocolFailure), **describe_rest(ProtocolFailure)},
)


MODEL_FAILURES = describe_failures(404, 503, kind=ProtocolFailure)
INFER = {
    200: {"model": InferResponse, "content": {OCTET_STREAM: {"schema": BINARY}}},
    **describe_failures(404, *IMAGE_FAILURES, kind=ProtocolFailure),
}
LENGTH = {  # of a request whose tensors are binary
    "name": HEADER_LENGTH,
    "in": "header",
    "description": "bytes of JSON before the binary tensors; 0 where the body is the one input itself",
    "schema": {"type": "integer", "minimum": 0},
}
BODY = {**describe_body({JSON: refer(InferRequest), OCTET_STREAM: BINARY}), "parameters": [LENGTH]}

ModelName = Annotated[str, Path(description="a served model, or NAME-pixels")]


async def _find_model(request: Request, state: State, name: ModelName) -> ServedModel:
    """Find the model of a name. Raises ApiError 404 where no model has the name, 503 while draining."""
    model_version = request.path_params.get("model_version", VERSION)
    if state.draining:
        raise shutting_down_error()
    pipeline = state.pipelines.get(name) or state.pipelines.get(name.removesuffix(PIXELS))
    if pipeline is None or model_version != VERSION:
        served = f"served in version {VERSION} are {', '.join(state.pipelines)}"
        raise ApiError(HTTPStatus.NOT_FOUND, "unknown_model", f"no model {name!r} of version {model_version}; {served}")
    return ServedModel(pipeline, name)


Model = Annotated[ServedModel, Depends(_find_model)]


@router.get("")
async def server_metadata(state: State) -> ServerMetadata:
    """The server's name, version and extensions, and what computes each model's answers."""
    models = {name: Engine(**pipeline.model.parameters) for name, pipeline in state.pipelines.items()}
    return ServerMetadata(name="tencrop", version=__version__, extensions=EXTENSIONS, models=models)


@router.get("/health/live")
async def server_live() -> dict[str, bool]:
    """Answers as long as the process lives."""
    return {"live": True}


@router.get("/health/ready", responses=describe_failures(503, kind=ProtocolFailure))
async def server_ready(state: State) -> dict[str, bool]:
    """Answers 200 where /readyz does."""
    state.check_ready()
    return {"ready": True}


@router.get("/models/stats")
async def statistics(state: State) -> Statistics:
    """The statistics of all models, each under both of its names."""
    models = [ServedModel(pipeline, name + end) for name, pipeline in state.pipelines.items() for end in ("", PIXELS)]
    return Statistics(model_stats=[model.describe_statistics() for model in models])


@router.get("/models/{name}", responses=MODEL_FAILURES)
@router.get("/models/{name}/versions/{model_version}", include_in_schema=False)
async def model_metadata(model: Model) -> ModelMetadata:
    """The model's input and outputs, and what computes its answers."""
    return model.describe()


@router.get("/models/{name}/ready", responses=MODEL_FAILURES)
@router.get("/models/{name}/versions/{model_version}/ready", include_in_schema=False)
async def model_ready(model: Model, state: State) -> ModelReadiness:
    """Answers 200 where the model can answer."""
    state.check_ready()
    return ModelReadiness(name=model.name, ready=True)


@router.get("/models/{name}/config", responses=MODEL_FAILURES)
@router.get("/models/{name}/versions/{model_version}/config", include_in_schema=False)
async def model_config(model: Model) -> ModelConfig:
    """The model's input and output in the form of Triton's model configuration."""
    return model.describe_config()


@router.get("/models/{name}/stats", responses=MODEL_FAILURES)
@router.get("/models/{name}/versions/{model_version}/stats", include_in_schema=False)
async def model_statistics(model: Model) -> Statistics:
    """The requests of this name so far; and the forward passes, which both names of a model share."""
    return Statistics(model_stats=[model.describe_statistics()])


@router.post("/models/{name}/infer", responses=INFER, openapi_extra=BODY)
@router.post("/models/{name}/versions/{model_version}/infer", include_in_schema=False)
async def infer(request: Request, model: Model, state: State) -> Response:
    """Ten-crop probabilities of a batch of images."""
    return await model.pipeline.answer_request(request, read_body, partial(_answer, state, request, model))


async def _answer(
    state: ServerState, request: Request, model: ServedModel, body: bytes, requester: Requester
) -> Response:
    """Parse and render in threads, for both take milliseconds. Raises ImageError for the first image that fails.

    Raises ApiError 504 once the request's own timeout is over.
    """
    started = asyncio.get_running_loop().time()
    headers, run = request.headers, partial(state.decode_pool.run, requester, MESSAGE_COST)
    asked = await run(parse_request, body, headers.get(HEADER_LENGTH), model)
    try:
        async with asyncio.timeout_at(started + asked.seconds if asked.seconds else None):
            answers = await model.pipeline.answer_images(asked.images, requester, asked.features)
    except TimeoutError:
        why = f"no answer within the request's timeout of {asked.seconds * MICRO:.0f} microseconds"
        raise ApiError(HTTPStatus.GATEWAY_TIMEOUT, "deadline", why) from None
    return await run(_render, model, asked, answers, headers.get("accept-encoding", ""))


def _render(
    model: ServedModel, asked: ParsedRequest, answers: list[ImageAnswer | ImageError], accepted: str
) -> Response:
    """Build the response. Raises the first ImageError: the protocol has one answer for all images."""
    rows = []
    for answer in answers:
        if isinstance(answer, ImageError):
            raise answer
        rows.append(answer.batched)
    count, shapes = len(rows), {output.name: output.shape[1:] for output in model.outputs}
    values = {
        output.name: np.array([output.find(row) for row in rows], np.float32).reshape(count, *shapes[output.name])
        for output in asked.outputs
    }
    body, json_bytes = render_response(
        model.name, asked, values, model.pipeline.model.contract.labels, model.parameters
    )
    body, encoding = compress(body, accepted)
    headers = {HEADER_LENGTH: json_bytes, "content-encoding": encoding}
    media_type = JSON if json_bytes is None else OCTET_STREAM
    return Response(
        body, headers={key: str(value) for key, value in headers.items() if value is not None}, media_type=media_type
    )
