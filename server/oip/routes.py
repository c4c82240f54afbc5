"""/v2: the Open Inference Protocol. NAME takes encoded images, NAME-pixels takes uint8 squares."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from tencrop import __version__
from tencrop.images.errors import ImageError
from tencrop.server.body_stream import read_body
from tencrop.server.errors import ApiError, shutting_down_error
from tencrop.server.oip.codec import HEADER_LENGTH, ParsedRequest, parse_request, render_response
from tencrop.server.oip.compression import compress
from tencrop.server.oip.served_model import PIXELS, VERSION, ServedModel
from tencrop.server.pipeline import ImageAnswer
from tencrop.server.requester import Requester
from tencrop.server.schemas import ProtocolFailure
from tencrop.server.state import ServerState, State

MESSAGE_COST = 1.0  # in units of `estimate_cost`, of parsing or rendering a message
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]

router = APIRouter(
    prefix="/v2",
    tags=["Open Inference Protocol"],
    responses={"4XX": {"model": ProtocolFailure, "description": "the fault of the request"}},
)


async def _find_model(request: Request, state: State, name: str) -> ServedModel:
    """Find the model of a name. Raises ApiError 404 where no model has the name, 503 while draining."""
    model_version = request.path_params.get("model_version", VERSION)
    if state.draining:
        raise shutting_down_error()
    pipeline = state.pipelines.get(name) or state.pipelines.get(name.removesuffix(PIXELS))
    if pipeline is None or model_version != VERSION:
        raise ApiError(HTTPStatus.NOT_FOUND, "unknown_model", f"no model {name!r} of version {model_version}")
    return ServedModel(pipeline, name)


Model = Annotated[ServedModel, Depends(_find_model)]


@router.get("")
async def server_metadata(state: State) -> dict[str, Any]:
    """The server's name, version and extensions, and the engine, device and precision of each model."""
    models = {name: pipeline.batcher.engine_info._asdict() for name, pipeline in state.pipelines.items()}
    return {"name": "tencrop", "version": __version__, "extensions": EXTENSIONS, "models": models}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """Answers as long as the process lives."""
    return {"live": True}


@router.get("/health/ready")
async def ready(state: State) -> dict[str, bool]:
    """Answers 200 where /readyz does."""
    state.check_ready()
    return {"ready": True}


@router.get("/models/stats")
async def every_statistics(state: State) -> dict[str, Any]:
    """The statistics of all models."""
    return {
        "model_stats": [ServedModel(pipeline, name).describe_statistics() for name, pipeline in state.pipelines.items()]
    }


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{model_version}", include_in_schema=False)
async def model_metadata(model: Model) -> dict[str, Any]:
    """The model's input and output, and its engine, device and precision."""
    return model.describe()


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{model_version}/ready", include_in_schema=False)
async def model_ready(model: Model, state: State) -> dict[str, Any]:
    """Answers 200 where the model can answer."""
    state.check_ready()
    return {"name": model.name, "ready": True}


@router.get("/models/{name}/config")
@router.get("/models/{name}/versions/{model_version}/config", include_in_schema=False)
async def model_config(model: Model) -> dict[str, Any]:
    """The model's input and output in the form of Triton's model configuration."""
    return model.describe_config()


@router.get("/models/{name}/stats")
@router.get("/models/{name}/versions/{model_version}/stats", include_in_schema=False)
async def model_statistics(model: Model) -> dict[str, Any]:
    """Images, forward passes and seconds so far; both names of a model count together."""
    return {"model_stats": [model.describe_statistics()]}


@router.post("/repository/index")
async def repository_index(state: State) -> list[dict[str, str]]:
    """All models, each under both of its names."""
    names = [name + end for name in state.pipelines for end in ("", PIXELS)]
    return [{"name": name, "version": VERSION, "state": "READY", "reason": ""} for name in names]


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{model_version}/infer", include_in_schema=False)
async def infer(request: Request, model: Model, state: State) -> Response:
    """Ten-crop probabilities of a batch of images."""
    return await model.pipeline.answer_request(request, read_body, partial(_answer, state, request, model))


async def _answer(
    state: ServerState, request: Request, model: ServedModel, body: bytes, requester: Requester
) -> Response:
    """Parse and render in threads, for both take milliseconds. Raises ImageError for the first image that fails."""
    headers, run = request.headers, partial(state.decode_pool.run, requester, MESSAGE_COST)
    capacity = model.pipeline.admission.capacity
    asked = await run(parse_request, body, headers.get(HEADER_LENGTH), model.input, capacity)
    answers = await model.pipeline.answer_images(asked.images, requester)
    return await run(_render, model, asked, answers, headers.get("accept-encoding", ""))


def _render(
    model: ServedModel, asked: ParsedRequest, answers: list[ImageAnswer | ImageError], accepted: str
) -> Response:
    """Build the response. Raises the first ImageError: the protocol has one answer for all images."""
    rows = []
    for answer in answers:
        if isinstance(answer, ImageError):
            raise answer
        rows.append(answer.batched.probabilities)
    labels = model.pipeline.model.contract.labels
    probabilities = np.array(rows, np.float32).reshape(len(rows), len(labels))
    body, json_bytes = render_response(model.name, asked, probabilities, labels, model.engine_info._asdict())
    body, encoding = compress(body, accepted)
    headers = {HEADER_LENGTH: json_bytes, "content-encoding": encoding}
    media_type = "application/json" if json_bytes is None else "application/octet-stream"
    return Response(
        body, headers={key: str(value) for key, value in headers.items() if value is not None}, media_type=media_type
    )
