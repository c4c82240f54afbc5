"""POST /v1/predict: one image in, its five most probable labels out; /v1/predict/batch: many images in one form."""

import asyncio
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request

from tencrop.common.errors import ImageError
from tencrop.model.contract import Contract
from tencrop.model.metrics import top_k
from tencrop.server.batcher import Batcher
from tencrop.server.body_images import BATCH_BODY, IMAGE_BODY, read_form_images, read_image
from tencrop.server.pipeline import Answered, answer, with_deadline
from tencrop.server.schemas import (
    MAX_TOP,
    Answer,
    BatchAnswer,
    ErrorBody,
    Failure,
    Guess,
    InputInfo,
    Timing,
    ViewVerdict,
)
from tencrop.server.state import ServerState, State

Top = Annotated[int, Query(ge=1, le=MAX_TOP, description="how many labels")]
Model = Annotated[str | None, Query(description="a served model; the first where none is named")]
Views = Annotated[bool, Query(description="add what each of the ten views alone says")]

router = APIRouter(prefix="/v1/predict", tags=["predict"])


@router.post("", response_model_exclude_none=True, openapi_extra=IMAGE_BODY)
async def predict(request: Request, state: State, top: Top = 5, model: Model = None, views: Views = False) -> Answer:
    """Ten-crop prediction of one image: multipart with one `image`, or the image's bytes as the whole body."""
    batcher = state.batcher(model)
    batcher.check_room()
    data = await read_image(request)
    with batcher.admitted():
        return _told(batcher, await with_deadline(state, request, answer(state, batcher, data)), top, views)


@router.post("/batch", response_model_exclude_none=True, openapi_extra=BATCH_BODY)
async def batch(request: Request, state: State, top: Top = 5, model: Model = None, views: Views = False) -> BatchAnswer:
    """Many images in one form, answered in their order; a bad image is an error in its place and the others are answered."""
    batcher = state.batcher(model)
    batcher.check_room()
    images = await read_form_images(request, batcher.queue_images)
    with batcher.admitted(len(images)):
        each = asyncio.gather(*(_one(state, batcher, data, top, views) for data in images))
        return BatchAnswer(results=await with_deadline(state, request, each))


async def _one(state: ServerState, batcher: Batcher, data: bytes, top: int, views: bool) -> Answer | Failure:
    try:
        return _told(batcher, await answer(state, batcher, data), top, views)
    except ImageError as error:
        return Failure(error=ErrorBody(code=error.code, message=str(error)))


def _told(batcher: Batcher, answered: Answered, top: int, views: bool) -> Answer:
    """As /v1/predict tells it."""
    labels, prediction = batcher.model.contract.labels, answered.prediction
    return Answer(
        model=batcher.model.name,
        **batcher.engine_info._asdict(),
        top=[
            Guess(index=i, id=labels[i].id, label=labels[i].name, probability=float(prediction.probabilities[i]))
            for i in map(int, top_k(prediction.probabilities, top))
        ],
        input=InputInfo(**answered.info._asdict()),
        timing_ms=Timing(
            decode=round(answered.decode_seconds * 1e3, 2),
            queue=round(prediction.queue_seconds * 1e3, 2),
            engine=round(prediction.engine_seconds * 1e3, 2),
        ),
        views=_verdicts(batcher.model.contract, prediction.view_probabilities) if views else None,
    )


def _verdicts(contract: Contract, each: np.ndarray) -> list[ViewVerdict]:
    best = top_k(each, 1)[:, 0].tolist()
    said = zip(contract.views, each, best, [contract.labels[i] for i in best], strict=True)
    return [
        ViewVerdict(
            **view._asdict(), size=contract.crop, index=i, id=label.id, label=label.name, probability=float(row[i])
        )
        for view, row, i, label in said
    ]
