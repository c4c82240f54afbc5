"""POST /v1/image-classification: the interface of `huggingface_hub.InferenceClient(model=URL).image_classification`."""

from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from tencrop.server.body_images import HUB_BODY, read_image
from tencrop.server.body_stream import max_body_bytes, stream_body
from tencrop.server.failures import IMAGE_FAILURES, describe_failures
from tencrop.server.hub_json import base64_json_bytes, read_hub_json
from tencrop.server.json_body import JSON, get_content_type
from tencrop.server.known_parameters import KnownParametersRoute
from tencrop.server.requester import Requester
from tencrop.server.routes.predict import Model
from tencrop.server.schemas import HubGuess
from tencrop.server.state import State

TOP = 5  # labels, where the client does not say

ENGINE = {"description": "engine; device; precision", "schema": {"type": "string"}}
ANSWERS = {200: {"headers": {"X-Tencrop-Engine": ENGINE}}, **describe_failures(*IMAGE_FAILURES)}

router = APIRouter(tags=["predict"], route_class=KnownParametersRoute)


@router.post("/v1/image-classification", openapi_extra=HUB_BODY, responses=ANSWERS)
async def image_classification(
    request: Request, response: Response, state: State, model: Model = None
) -> list[HubGuess]:
    """The most probable labels of an image: its bytes, a form with one file `image`, or JSON with the image in base64.

    The header X-Tencrop-Engine names the engine, device and precision.
    """
    pipeline = state.find_pipeline(model)

    async def answer(body: tuple[bytes, int], requester: Requester) -> list[HubGuess]:
        image, top = body
        prediction = pipeline.name_classes(await pipeline.answer_image(image, requester), top)
        return [HubGuess(label=guess.label, score=guess.probability) for guess in prediction.top]

    guesses = await pipeline.answer_request(request, _read, answer)
    response.headers["X-Tencrop-Engine"] = "; ".join(pipeline.model.engine_info)
    return guesses


async def _read(request: Request) -> tuple[bytes, int]:
    """Read either form of the body -> the encoded image, and the number of labels. Raises ApiError."""
    if get_content_type(request) != JSON:
        return await read_image(request), TOP
    most = max_body_bytes(request)
    async with aclosing(stream_body(request, base64_json_bytes(most))) as pieces:
        image, parameters = await read_hub_json(pieces, most)
    return image, parameters.top_k or TOP
