"""/v2: the Open Inference Protocol. Each model twice: NAME takes encoded images, NAME-pixels takes uint8 squares."""

import asyncio
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from tencrop.server.batcher import Batcher, Prediction
from tencrop.server.body_limits import HOLD
from tencrop.server.errors import Refusal, shutting_down
from tencrop.server.oip.codec import (
    DYNAMIC,
    HEADER_LENGTH,
    OUTPUT,
    VERSION,
    Elements,
    Infer,
    TensorMetadata,
    deflated,
    inflated,
    read,
    written,
)
from tencrop.server.pipeline import answer, answer_pixels, in_time
from tencrop.server.schemas import ProtocolFailure
from tencrop.server.state import Serving, State

PIXELS = "-pixels"
IMAGE = TensorMetadata("image", "BYTES", (DYNAMIC,))
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]
CONFIG_TYPES = {"BYTES": "TYPE_STRING", "UINT8": "TYPE_UINT8", "FP32": "TYPE_FP32"}

router = APIRouter(
    prefix="/v2",
    tags=["Open Inference Protocol"],
    responses={"4XX": {"model": ProtocolFailure, "description": "what is wrong with the request"}},
)


class Named:
    """A model under one of its two names."""

    def __init__(self, batcher: Batcher, name: str) -> None:
        self.batcher, self.name, self.ran = batcher, name, batcher.ran
        self.pixels = name != batcher.model.name
        side = batcher.model.contract.resize
        self.input = TensorMetadata("images", "UINT8", (DYNAMIC, side, side, 3)) if self.pixels else IMAGE
        self.output = TensorMetadata(OUTPUT, "FP32", (DYNAMIC, len(batcher.model.contract.labels)))


async def _named(request: Request, serving: Serving, name: str) -> Named:
    """Raises Refusal 404 where no model has the name, 503 while draining."""
    model_version = request.path_params.get("model_version", VERSION)
    if serving.draining:
        raise shutting_down()
    batcher = serving.batchers.get(name) or serving.batchers.get(name.removesuffix(PIXELS))
    if batcher is None or model_version != VERSION:
        raise Refusal(HTTPStatus.NOT_FOUND, "unknown_model", f"no model {name!r} of version {model_version}")
    return Named(batcher, name)


Model = Annotated[Named, Depends(_named)]


@router.get("")
async def server_metadata(serving: Serving) -> dict[str, Any]:
    """What this server is, and what runs each model."""
    models = {name: batcher.ran._asdict() for name, batcher in serving.batchers.items()}
    return {"name": "tencrop", "version": version("tencrop"), "extensions": EXTENSIONS, "models": models}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """Always answered while the process lives."""
    return {"live": True}


@router.get("/health/ready")
async def ready(serving: Serving) -> dict[str, bool]:
    """As /readyz."""
    serving.check_ready()
    return {"ready": True}


@router.get("/models/stats")
async def every_statistics(serving: Serving) -> dict[str, Any]:
    """Of all models."""
    return {"model_stats": [_statistics(Named(batcher, name)) for name, batcher in serving.batchers.items()]}


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
        "parameters": model.ran._asdict(),
    }


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{model_version}/ready", include_in_schema=False)
async def model_ready(model: Model, serving: Serving) -> dict[str, Any]:
    """Whether it answers."""
    serving.check_ready()
    return {"name": model.name, "ready": True}


@router.get("/models/{name}/config")
@router.get("/models/{name}/versions/{model_version}/config", include_in_schema=False)
async def model_config(model: Model) -> dict[str, Any]:
    """Triton's form of the same."""
    kind = "KIND_CPU" if model.ran.device.startswith("cpu") else "KIND_GPU"
    return {
        "name": model.name,
        "platform": "tencrop_onnx",
        "backend": model.ran.engine,
        "max_batch_size": 0,
        "input": [_configured(model.input)],
        "output": [_configured(model.output)],
        "instance_group": [{"name": device, "kind": kind, "count": 1} for device in model.ran.device.split(",")],
    }


def _configured(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": CONFIG_TYPES[tensor.datatype], "dims": list(tensor.shape)}


@router.get("/models/{name}/stats")
@router.get("/models/{name}/versions/{model_version}/stats", include_in_schema=False)
async def model_statistics(model: Model) -> dict[str, Any]:
    """How much it has done; both names of a model count together."""
    return {"model_stats": [_statistics(model)]}


def _statistics(model: Named) -> dict[str, Any]:
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
async def repository_index(serving: Serving) -> list[dict[str, str]]:
    """All models, by both names."""
    names = [name + end for name in serving.batchers for end in ("", PIXELS)]
    return [{"name": name, "version": VERSION, "state": "READY", "reason": ""} for name in names]


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{model_version}/infer", include_in_schema=False)
async def infer(request: Request, model: Model, serving: Serving) -> Response:
    """Ten-crop probabilities of a batch of images."""
    model.batcher.check_room()
    body = await request.body()
    return await in_time(serving, request, _answered(serving, request, model, body))


async def _answered(serving: State, request: Request, model: Named, body: bytes) -> Response:
    batcher, headers, loop = model.batcher, request.headers, asyncio.get_running_loop()
    encoding = headers.get("content-encoding", "").strip().lower()
    plain = await loop.run_in_executor(serving.decoders, inflated, body, encoding, serving.settings.max_body_bytes)
    if plain is not body:
        request.scope[HOLD](len(plain))
    asked = await loop.run_in_executor(
        serving.decoders, read, plain, headers.get(HEADER_LENGTH), model.input, batcher.queue_images
    )
    with batcher.admitted(len(asked.elements)):
        rows = await _rows(serving, model, asked.elements)
    return await loop.run_in_executor(
        serving.decoders, _response, model, asked, rows, headers.get("accept-encoding", "")
    )


async def _rows(serving: State, model: Named, elements: Elements) -> list[np.ndarray]:
    """Probabilities [C] of each. Raises ImageError for the first that is none: the protocol has one answer for all."""
    if isinstance(elements, np.ndarray):
        each = [answer_pixels(model.batcher, square) for square in elements]
    else:
        each = [_encoded(serving, model.batcher, data) for data in elements]
    predictions = await asyncio.gather(*each, return_exceptions=True)
    for prediction in predictions:
        if isinstance(prediction, BaseException):
            raise prediction
    return [prediction.probabilities for prediction in predictions if isinstance(prediction, Prediction)]


async def _encoded(serving: State, batcher: Batcher, data: bytes) -> Prediction:
    return (await answer(serving, batcher, data)).prediction


def _response(model: Named, asked: Infer, rows: list[np.ndarray], accepted: str) -> Response:
    labels = model.batcher.model.contract.labels
    probabilities = np.array(rows, np.float32).reshape(len(rows), len(labels))
    body, length = written(model.name, asked, probabilities, labels, model.ran._asdict())
    body, encoding = deflated(body, accepted)
    found = {HEADER_LENGTH: length, "content-encoding": encoding}
    kind = "application/json" if length is None else "application/octet-stream"
    return Response(
        body, headers={key: str(value) for key, value in found.items() if value is not None}, media_type=kind
    )
