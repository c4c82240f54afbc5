"""/v2: the Open Inference Protocol. Each model twice: NAME takes encoded images, NAME-pixels takes uint8 squares."""

import asyncio
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from tencrop.server.batcher import BatchedAnswer, Batcher
from tencrop.server.body_limits import HOLD
from tencrop.server.errors import ApiError, shutting_down_error
from tencrop.server.oip.codec import (
    DYNAMIC,
    HEADER_LENGTH,
    OUTPUT,
    VERSION,
    Elements,
    ParsedRequest,
    TensorMetadata,
    compress,
    decompress,
    parse_request,
    render_response,
)
from tencrop.server.pipeline import answer, answer_pixels, with_deadline
from tencrop.server.schemas import ProtocolFailure
from tencrop.server.state import ServerState, State

PIXELS = "-pixels"
IMAGE = TensorMetadata("image", "BYTES", (DYNAMIC,))
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]
CONFIG_TYPES = {"BYTES": "TYPE_STRING", "UINT8": "TYPE_UINT8", "FP32": "TYPE_FP32"}

router = APIRouter(
    prefix="/v2",
    tags=["Open Inference Protocol"],
    responses={"4XX": {"model": ProtocolFailure, "description": "what is wrong with the request"}},
)


class ServedModel:
    """A model under one of its two names."""

    def __init__(self, batcher: Batcher, name: str) -> None:
        self.batcher, self.name, self.engine_info = batcher, name, batcher.engine_info
        self.pixels = name != batcher.model.name
        side = batcher.model.contract.resize
        self.input = TensorMetadata("images", "UINT8", (DYNAMIC, side, side, 3)) if self.pixels else IMAGE
        self.output = TensorMetadata(OUTPUT, "FP32", (DYNAMIC, len(batcher.model.contract.labels)))


async def _get_model(request: Request, state: State, name: str) -> ServedModel:
    """Raises ApiError 404 where no model has the name, 503 while draining."""
    model_version = request.path_params.get("model_version", VERSION)
    if state.draining:
        raise shutting_down_error()
    batcher = state.batchers.get(name) or state.batchers.get(name.removesuffix(PIXELS))
    if batcher is None or model_version != VERSION:
        raise ApiError(HTTPStatus.NOT_FOUND, "unknown_model", f"no model {name!r} of version {model_version}")
    return ServedModel(batcher, name)


Model = Annotated[ServedModel, Depends(_get_model)]


@router.get("")
async def server_metadata(state: State) -> dict[str, Any]:
    """What this server is, and what runs each model."""
    models = {name: batcher.engine_info._asdict() for name, batcher in state.batchers.items()}
    return {"name": "tencrop", "version": version("tencrop"), "extensions": EXTENSIONS, "models": models}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """Always answered while the process lives."""
    return {"live": True}


@router.get("/health/ready")
async def ready(state: State) -> dict[str, bool]:
    """As /readyz."""
    state.check_ready()
    return {"ready": True}


@router.get("/models/stats")
async def every_statistics(state: State) -> dict[str, Any]:
    """Of all models."""
    return {"model_stats": [_statistics(ServedModel(batcher, name)) for name, batcher in state.batchers.items()]}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{model_version}", include_in_schema=False)
async def model_metadata(model: Model) -> dict[str, Any]:
    """Its input, its output, and what runs it."""
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "tencrop_onnx",
        "inputs": [model.input._asdict()],
        "outputs": [model.output._asdict()],
        "parameters": model.engine_info._asdict(),
    }


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{model_version}/ready", include_in_schema=False)
async def model_ready(model: Model, state: State) -> dict[str, Any]:
    """Whether it answers."""
    state.check_ready()
    return {"name": model.name, "ready": True}


@router.get("/models/{name}/config")
@router.get("/models/{name}/versions/{model_version}/config", include_in_schema=False)
async def model_config(model: Model) -> dict[str, Any]:
    """Triton's form of the same."""
    kind = "KIND_CPU" if model.engine_info.device.startswith("cpu") else "KIND_GPU"
    return {
        "name": model.name,
        "platform": "tencrop_onnx",
        "backend": model.engine_info.engine,
        "max_batch_size": 0,
        "input": [_configured(model.input)],
        "output": [_configured(model.output)],
        "instance_group": [
            {"name": device, "kind": kind, "count": 1} for device in model.engine_info.device.split(",")
        ],
    }


def _configured(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": CONFIG_TYPES[tensor.datatype], "dims": list(tensor.shape)}


@router.get("/models/{name}/stats")
@router.get("/models/{name}/versions/{model_version}/stats", include_in_schema=False)
async def model_statistics(model: Model) -> dict[str, Any]:
    """How much it has done; both names of a model count together."""
    return {"model_stats": [_statistics(model)]}


def _statistics(model: ServedModel) -> dict[str, Any]:
    metrics, of = model.batcher.metrics, model.batcher.model.name
    images, forwards = int(metrics.value("images_total", of)), int(metrics.value("engine_seconds_count", of))
    spent = {"queue": (images, "queue_seconds_sum"), "compute_infer": (forwards, "engine_seconds_sum")}
    return {
        "name": model.name,
        "version": VERSION,
        "inference_count": images,
        "execution_count": forwards,
        "inference_stats": {
            key: {"count": count, "ns": int(metrics.value(name, of) * 1e9)} for key, (count, name) in spent.items()
        },
    }


@router.post("/repository/index")
async def repository_index(state: State) -> list[dict[str, str]]:
    """All models, by both names."""
    names = [name + end for name in state.batchers for end in ("", PIXELS)]
    return [{"name": name, "version": VERSION, "state": "READY", "reason": ""} for name in names]


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{model_version}/infer", include_in_schema=False)
async def infer(request: Request, model: Model, state: State) -> Response:
    """Ten-crop probabilities of a batch of images."""
    model.batcher.check_room()
    body = await request.body()
    return await with_deadline(state, request, _answered(state, request, model, body))


async def _answered(state: ServerState, request: Request, model: ServedModel, body: bytes) -> Response:
    batcher, headers, loop = model.batcher, request.headers, asyncio.get_running_loop()
    encoding = headers.get("content-encoding", "").strip().lower()
    plain = await loop.run_in_executor(state.decoders, decompress, body, encoding, state.settings.max_body_bytes)
    if plain is not body:
        request.scope[HOLD](len(plain))
    asked = await loop.run_in_executor(
        state.decoders, parse_request, plain, headers.get(HEADER_LENGTH), model.input, batcher.queue_images
    )
    with batcher.admitted(len(asked.elements)):
        rows = await _rows(state, model, asked.elements)
    return await loop.run_in_executor(state.decoders, _response, model, asked, rows, headers.get("accept-encoding", ""))


async def _rows(state: ServerState, model: ServedModel, elements: Elements) -> list[np.ndarray]:
    """Probabilities [C] of each. Raises ImageError for the first that is none: the protocol has one answer for all."""
    if isinstance(elements, np.ndarray):
        each = [answer_pixels(model.batcher, square) for square in elements]
    else:
        each = [_encoded(state, model.batcher, data) for data in elements]
    predictions = await asyncio.gather(*each, return_exceptions=True)
    for prediction in predictions:
        if isinstance(prediction, BaseException):
            raise prediction
    return [prediction.probabilities for prediction in predictions if isinstance(prediction, BatchedAnswer)]


async def _encoded(state: ServerState, batcher: Batcher, data: bytes) -> BatchedAnswer:
    return (await answer(state, batcher, data)).prediction


def _response(model: ServedModel, asked: ParsedRequest, rows: list[np.ndarray], accepted: str) -> Response:
    labels = model.batcher.model.contract.labels
    probabilities = np.array(rows, np.float32).reshape(len(rows), len(labels))
    body, length = render_response(model.name, asked, probabilities, labels, model.engine_info._asdict())
    body, encoding = compress(body, accepted)
    found = {HEADER_LENGTH: length, "content-encoding": encoding}
    kind = "application/json" if length is None else "application/octet-stream"
    return Response(
        body, headers={key: str(value) for key, value in found.items() if value is not None}, media_type=kind
    )
