"""POST /v1/predict answers one image with its most probable labels; /v1/predict/batch answers the images of a form."""

from functools import partial
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request

from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract
from tencrop.model.metrics import top_k
from tencrop.server.body_images import BATCH_BODY, IMAGE_BODY, read_form_images, read_image
from tencrop.server.direct_route import DirectRoute
from tencrop.server.failures import IMAGE_FAILURES, describe_failures
from tencrop.server.pipeline import ImageAnswer, Pipeline
from tencrop.server.schemas import (
    MODEL,
    Answer,
    BatchAnswer,
    ErrorBody,
    Failure,
    InputInfo,
    PredictParameters,
    Timing,
    ViewVerdict,
)
from tencrop.server.state import State

Model = Annotated[str | None, Query(description=MODEL)]  # of other routes
PredictQuery = Annotated[PredictParameters, Query()]

FAILURES = describe_failures(*IMAGE_FAILURES)

router = APIRouter(prefix="/v1/predict", tags=["predict"], route_class=DirectRoute)


@router.post("", openapi_extra=IMAGE_BODY, responses=FAILURES)
async def predict(request: Request, state: State, query: PredictQuery) -> Answer:
    """Ten-crop prediction of one image: a form with one file `image`, or the image's bytes as the whole body."""
    pipeline = state.find_pipeline(query.model)
    answer = await pipeline.answer_request(request, read_image, pipeline.answer_image)
    return _render(pipeline, answer, query)


@router.post("/batch", openapi_extra=BATCH_BODY, responses=FAILURES)
async def predict_batch(request: Request, state: State, query: PredictQuery) -> BatchAnswer:
    """Ten-crop predictions of a form's files `images`, in their order. An error stands in for an image that fails."""
    pipeline = state.find_pipeline(query.model)
    read = partial(read_form_images, max_images=pipeline.admission.capacity)
    answers = await pipeline.answer_request(request, read, pipeline.answer_images)
    return BatchAnswer(
        results=[
            Failure(error=ErrorBody(code=answer.code, message=answer.what))
            if isinstance(answer, ImageError)
            else _render(pipeline, answer, query)
            for answer in answers
        ]
    )


def _render(pipeline: Pipeline, answer: ImageAnswer, query: PredictParameters) -> Answer:
    batched, contract = answer.batched, pipeline.model.contract
    assert answer.info  # these routes take encoded images alone
    return Answer(
        model=pipeline.model.name,
        **pipeline.model.engine_info._asdict(),
        top=pipeline.name_classes(answer, query.top).top,
        input=InputInfo(**answer.info._asdict()),
        timing_ms=Timing(
            decode=round(answer.decode_seconds * 1e3, 2),
            queue=round(batched.queue_seconds * 1e3, 2),
            engine=round(batched.engine_seconds * 1e3, 2),
        ),
        views=_render_views(contract, batched.view_probabilities) if query.views else None,
    )


def _render_views(contract: Contract, view_probabilities: np.ndarray) -> list[ViewVerdict]:
    """The most probable label of each view, from probabilities [10,C]."""
    verdicts = []
    for view, row, i in zip(
        contract.views, view_probabilities, top_k(view_probabilities, 1)[:, 0].tolist(), strict=True
    ):
        label = contract.labels[i]
        verdicts.append(
            ViewVerdict(
                **view._asdict(), size=contract.crop, index=i, id=label.id, label=label.name, probability=float(row[i])
            )
        )
    return verdicts
