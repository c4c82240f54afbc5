"""POST /v1/image-classification, and POST / as the hub's inference endpoints have it.

It is the interface of `huggingface_hub.InferenceClient(model=URL).image_classification`.
"""

from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tencrop.runtime.prediction import Prediction
from tencrop.server.body_images import HUB_BODY, read_image
from tencrop.server.body_stream import max_body_bytes, stream_body
from tencrop.server.failures import IMAGE_FAILURES, describe_failures
from tencrop.server.hub_json import base64_json_bytes, read_hub_json
from tencrop.server.image_answer import ImageAnswer
from tencrop.server.json_body import JSON, get_content_type
from tencrop.server.known_parameters import KnownParametersRoute
from tencrop.server.requester import Requester
from tencrop.server.routes.predict import TIMES, Model
from tencrop.server.schemas import COVERAGE, HubGuess
from tencrop.server.state import State
from tencrop.server.timing import SERVER_TIMING, timing_header

TOP = 5  # labels, where the client does not say

ENGINE = {"description": "engine; device; precision", "schema": {"type": "string"}}
AGREEMENT = {
    "description": "how many of the ten views have the first label as their own",
    "schema": {"type": "integer"},
}
CONFIDENCE = {"description": "of each label, where the model is calibrated", "schema": {"type": "string"}}
SET = {"description": "the numbers of the labels in the set for `coverage`", "schema": {"type": "string"}}
MODEL = {"description": "the sha256 of the model's file and of its contract; the decoder", "schema": {"type": "string"}}
HEADERS = {
    "X-Tencrop-Engine": ENGINE,
    "X-Tencrop-Model": MODEL,
    "X-Tencrop-Agreement": AGREEMENT,
    "X-Tencrop-Confidence": CONFIDENCE,
    "X-Tencrop-Set": SET,
    SERVER_TIMING: TIMES,
}
ANSWERS = {200: {"headers": HEADERS}, **describe_failures(*IMAGE_FAILURES)}

Coverage = Annotated[float | None, Query(gt=0, lt=1, description=COVERAGE)]

router = APIRouter(tags=["predict"], route_class=KnownParametersRoute)


@router.post("/v1/image-classification", openapi_extra=HUB_BODY, responses=ANSWERS)
@router.post("/", include_in_schema=False)
async def image_classification(
    request: Request, response: Response, state: State, model: Model = None, coverage: Coverage = None
) -> list[HubGuess]:
    """The most probable labels of an image: its bytes, a form with one file `image`, or JSON with the image in base64.

    Headers have what the hub's form of an answer has no place for: X-Tencrop-Engine the engine, device and precision.
    """
    pipeline = state.find_pipeline(model)
    threshold = pipeline.find_threshold(coverage)

    async def answer(body: tuple[bytes, int], requester: Requester) -> tuple[Prediction, ImageAnswer]:
        image, top = body
        answered = await pipeline.answer_image(image, requester)
        return pipeline.name_classes(answered, top, threshold), answered

    prediction, answered = await pipeline.answer_request(request, _read, answer)
    response.headers.update(timing_header([answered]))
    response.headers["X-Tencrop-Engine"] = "; ".join(pipeline.model.engine_info)
    response.headers["X-Tencrop-Model"] = "; ".join(pipeline.model.provenance)
    response.headers["X-Tencrop-Agreement"] = str(prediction.agreement)
    if pipeline.model.calibration:
        response.headers["X-Tencrop-Confidence"] = ", ".join(f"{guess.confidence:.6g}" for guess in prediction.top)
    if prediction.set is not None:
        response.headers["X-Tencrop-Set"] = ", ".join(str(guess.index) for guess in prediction.set)
    return [HubGuess(label=guess.label, score=guess.probability) for guess in prediction.top]


async def _read(request: Request) -> tuple[bytes, int]:
    """Read either form of the body -> the encoded image, and the number of labels. Raises ApiError."""
    if get_content_type(request) != JSON:
        return await read_image(request), TOP
    most = max_body_bytes(request)
    async with aclosing(stream_body(request, base64_json_bytes(most))) as pieces:
        image, parameters = await read_hub_json(pieces, most)
    return image, parameters.top_k or TOP
