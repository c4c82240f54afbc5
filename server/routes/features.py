"""POST /v1/features answers one image with the values of a hidden layer; /v1/features/batch the images of a form."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from tencrop.images.errors import ImageError
from tencrop.server.body_images import BATCH_BODY, IMAGE_BODY, read_form_images, read_image
from tencrop.server.direct_route import DirectRoute
from tencrop.server.errors import ApiError
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.feature_schemas import FeatureAnswer, FeatureBatch, FeatureParameters
from tencrop.server.image_answer import ImageAnswer
from tencrop.server.json_body import JSON
from tencrop.server.loaded_model import LoadedModel
from tencrop.server.requester import Requester
from tencrop.server.routes.predict import ANSWERS
from tencrop.server.schemas import ErrorBody, Failure, InputInfo
from tencrop.server.state import State
from tencrop.server.timing import time_answer, timing_header

RENDER_COST = 1.0  # in units of `estimate_cost`, of writing an answer, which takes milliseconds

FeatureQuery = Annotated[FeatureParameters, Query()]

router = APIRouter(prefix="/v1/features", tags=["features"], route_class=DirectRoute)


@router.post("", response_model=FeatureAnswer, openapi_extra=IMAGE_BODY, responses=ANSWERS)
async def features(request: Request, state: State, query: FeatureQuery) -> Response:
    """Features of one image: a form with one file `image`, or the image's bytes as the whole body."""
    pipeline = state.find_pipeline(query.model)
    choice = choose_features(pipeline.model, query.layer, query.views)

    def render(found: ImageAnswer) -> Response:
        return _respond(_render(pipeline.model, choice, query.timing, found), [found])

    async def answer(image: bytes, requester: Requester) -> Response:
        found = await pipeline.answer_image(image, requester, choice)
        return await state.decode_pool.run(requester, RENDER_COST, render, found)

    return await pipeline.answer_request(request, read_image, answer)


@router.post("/batch", response_model=FeatureBatch, openapi_extra=BATCH_BODY, responses=ANSWERS)
async def features_batch(request: Request, state: State, query: FeatureQuery) -> Response:
    """Features of a form's files `images`, in their order. An error stands in for an image that fails."""
    pipeline = state.find_pipeline(query.model)
    choice = choose_features(pipeline.model, query.layer, query.views)
    read = partial(read_form_images, max_images=pipeline.admission.capacity)

    def render(found: Sequence[ImageAnswer | ImageError]) -> Response:
        results = [_render(pipeline.model, choice, query.timing, each) for each in found]
        return _respond(FeatureBatch(results=results), [each for each in found if isinstance(each, ImageAnswer)])

    async def answer(images: Sequence[bytes], requester: Requester) -> Response:
        found = await pipeline.answer_images(images, requester, choice)
        return await state.decode_pool.run(requester, RENDER_COST, render, found)

    return await pipeline.answer_request(request, read, answer)


def choose_features(model: LoadedModel, layer: str | None, views: str) -> FeatureChoice:
    """The features that a request asks a model for. Raises ApiError 422 where the model does not give them."""
    asked = layer or next(iter(model.features), "fc7")
    if asked in model.features:
        return FeatureChoice(asked, views)
    given = f"{model.name} gives features of {', '.join(model.features) or 'no layer'}"
    advice = "ask one of its nets" if model.is_ensemble else f"export it with `tencrop export --features {asked}`"
    raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "no_features", f"{given}; {advice}")


def _render(
    model: LoadedModel, choice: FeatureChoice, with_timing: bool, found: ImageAnswer | ImageError
) -> FeatureAnswer | Failure:
    if isinstance(found, ImageError):
        return Failure(error=ErrorBody(code=found.code, message=found.what))
    assert found.info and found.batched.features is not None  # an encoded image was asked for its features
    return FeatureAnswer(
        model=model.name,
        **model.parameters,
        **choice._asdict(),
        features=found.batched.features.tolist(),
        input=InputInfo(**found.info._asdict()),
        timing_ms=time_answer(found) if with_timing else None,
    )


def _respond(answer: BaseModel, images: Sequence[ImageAnswer]) -> Response:
    return Response(answer.model_dump_json(exclude_none=True), media_type=JSON, headers=timing_header(images))
