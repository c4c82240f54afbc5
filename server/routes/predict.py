"""POST /v1/predict: one image in, its five most probable labels out."""

import asyncio
import time
from http import HTTPStatus
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.datastructures import UploadFile

from model.contract import Contract
from model.metrics import top_k
from model.preprocess import ImageInfo, decode
from server.batcher import Batcher, Prediction
from server.errors import Refusal
from server.schemas import Answer, Guess, InputInfo, Timing, ViewVerdict
from server.state import Serving

MAX_TOP = 1000

router = APIRouter()


@router.post("/v1/predict", response_model_exclude_none=True)
async def predict(
    request: Request,
    serving: Serving,
    top: Annotated[int, Query(ge=1, le=MAX_TOP, description="how many labels")] = 5,
    model: Annotated[str | None, Query(description="a served model; the first where none is named")] = None,
    views: Annotated[bool, Query(description="add what each of the ten views alone says")] = False,
) -> Answer:
    """Ten-crop prediction of one image: multipart with one `image`, or the image's bytes as the whole body."""
    batcher = serving.batcher(model)
    contract = batcher.classifier.file.card.contract
    seconds = serving.settings.deadline_seconds
    with batcher.admitted():
        data = await image_bytes(request)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                loop = asyncio.get_running_loop()
                pixels, info = await loop.run_in_executor(serving.decoders, decode, data, contract)
                decoded = time.perf_counter()
                prediction = await batcher.predict(pixels)
        except TimeoutError:
            raise Refusal(HTTPStatus.GATEWAY_TIMEOUT, "deadline", f"no answer within {seconds:g} s; try again") from None
    return _answer(batcher, prediction, info, top, decoded - started, views)


async def image_bytes(request: Request) -> bytes:
    """The image of a request. Raises Refusal where the body is JSON or a form without exactly one file `image`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_format", "send the image's bytes, or a form with a file `image`")
    if kind != "multipart/form-data":
        body = await request.body()
    else:
        body = await _form_image(request)
    if not body:
        raise Refusal(HTTPStatus.BAD_REQUEST, "damaged_image", "the image is empty (0 bytes)")
    return body


async def _form_image(request: Request) -> bytes:
    """The file `image` of a form. Raises Refusal."""
    try:
        async with request.form(max_files=2, max_fields=8) as form:
            images = form.getlist("image")
            if len(images) != 1 or not isinstance(images[0], UploadFile):
                raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", "the form must have one file field named `image`")
            return await images[0].read()
    except ValueError:  # a boundary, charset or field name that is none
        raise Refusal(HTTPStatus.BAD_REQUEST, "bad_request", "the form cannot be read") from None


def _answer(batcher: Batcher, prediction: Prediction, info: ImageInfo, top: int, decode_seconds: float, views: bool) -> Answer:
    classifier = batcher.classifier
    engine, card = classifier.engine, classifier.file.card
    return Answer(
        model=classifier.name,
        engine=engine.name,
        device=engine.device,
        precision=engine.precision,
        top=[
            Guess(index=i, id=card.labels[i].id, label=card.labels[i].name, probability=float(prediction.probabilities[i]))
            for i in map(int, top_k(prediction.probabilities, top))
        ],
        input=InputInfo(**info._asdict()),
        timing_ms=Timing(
            decode=round(decode_seconds * 1e3, 2),
            queue=round(prediction.queue_seconds * 1e3, 2),
            engine=round(prediction.engine_seconds * 1e3, 2),
        ),
        views=_verdicts(card.contract, prediction.view_probabilities) if views else None,
    )


def _verdicts(contract: Contract, each: np.ndarray) -> list[ViewVerdict]:
    best = top_k(each, 1)[:, 0]
    return [
        ViewVerdict(**view._asdict(), size=contract.crop, index=int(i), label=contract.labels[i].name, probability=float(row[i]))
        for view, row, i in zip(contract.views, each, best, strict=True)
    ]
