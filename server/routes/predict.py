"""POST /v1/predict answers one image with its most probable labels; /v1/predict/batch answers the images of a form."""

from functools import partial
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request

from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract
from tencrop.model.metrics import top_k
from tencrop.server.body_images import BATCH_BODY, IMAGE_BODY, read_form_images, read_image
from tencrop.server.direct_route import DirectRoute, Rendered
from tencrop.server.failures import IMAGE_FAILURES, describe_failures
from tencrop.server.image_answer import ImageAnswer
from tencrop.server.pipeline import Pipeline
from tencrop.server.schemas import (
    MODEL,
    Answer,
    BatchAnswer,
    ErrorBody,
    Failure,
    InputInfo,
    PredictParameters,
    ViewVerdict,
)
from tencrop.server.state import State
from tencrop.server.timing import SERVER_TIMING, time_answer, timing_header

Model = Annotated[str | None, Query(description=MODEL)]  # of other routes
PredictQuery = Annotated[PredictParameters, Query()]

TIMES = {"description": "milliseconds, as in timing_ms; the longest of a batch", "schema": {"type": "string"}}
ANSWERS = {200: {"headers": {SERVER_TIMING: TIMES}}, **describe_failures(*IMAGE_FAILURES)}

router = APIRouter(prefix="/v1/predict", tags=["predict"], route_class=DirectRoute)


@router.post("", response_model=Answer, openapi_extra=IMAGE_BODY, responses=ANSWERS)
async def predict(request: Request, state: State, query: PredictQuery) -> Rendered:
    """Ten-crop prediction of one image: a form with one file `image`, or the image's bytes as the whole body."""
    pipeline = state.find_pipeline(query.model)
    threshold = pipeline.find_threshold(query.coverage)
    answer = await pipeline.answer_request(request, read_image, pipeline.answer_image)
    return Rendered(_render(pipeline, answer, query, threshold), timing_header([answer]))


@router.post("/batch", response_model=BatchAnswer, openapi_extra=BATCH_BODY, responses=ANSWERS)
async def predict_batch(request: Request, state: State, query: PredictQuery) -> Rendered:
    """Ten-crop predictions of a form's files `images`, in their order. An error stands in for an image that fails."""
    pipeline = state.find_pipeline(query.model)
    threshold = pipeline.find_threshold(query.coverage)
    read = partial(read_form_images, max_images=pipeline.admission.capacity)
    answers = await pipeline.answer_request(request, read, pipeline.answer_images)
    results = [
        Failure(error=ErrorBody(code=answer.code, message=answer.what))
        if isinstance(answer, ImageError)
        else _render(pipeline, answer, query, threshold)
        for answer in answers
    ]
    times = timing_header(answer for answer in answers if isinstance(answer, ImageAnswer))
    return Rendered(BatchAnswer(results=results), times)


def _render(pipeline: Pipeline, answer: ImageAnswer, query: PredictParameters, threshold: float | None) -> Answer:
    batched, contract = answer.batched, pipeline.model.contract
    assert answer.info  # these routes take encoded images alone
    prediction = pipeline.name_classes(answer, query.top, threshold)
    return Answer(
        model=pipeline.model.name,
        **pipeline.model.parameters,
        top=prediction.top,
        agreement=prediction.agreement,
        set=prediction.set,
        input=InputInfo(**answer.info._asdict()),
        timing_ms=time_answer(answer) if query.timing else None,
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
