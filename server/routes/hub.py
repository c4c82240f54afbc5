"""POST /v1/image-classification, as `huggingface_hub.InferenceClient(model=URL).image_classification` speaks it."""

from fastapi import APIRouter, Request, Response

from tencrop.server.body_images import HUB_BODY, get_content_type, parse_json, read_image
from tencrop.server.routes.predict import Model
from tencrop.server.schemas import HubGuess, HubRequest
from tencrop.server.state import State

TOP = 5  # labels, where the client does not say

router = APIRouter(tags=["predict"])


@router.post("/v1/image-classification", openapi_extra=HUB_BODY)
async def image_classification(
    request: Request, response: Response, state: State, model: Model = None
) -> list[HubGuess]:
    """The most probable labels of an image: its bytes, a form with one file `image`, or JSON with the image in base64.

    The header X-Tencrop-Engine names the engine, device and precision.
    """
    pipeline = state.find_pipeline(model)

    async def answer(body: tuple[bytes, int]) -> list[HubGuess]:
        image, top = body
        prediction = pipeline.name_classes(await pipeline.answer_image(image), top)
        return [HubGuess(label=guess.label, score=guess.probability) for guess in prediction.top]

    guesses = await pipeline.answer_request(request, _read, answer)
    response.headers["X-Tencrop-Engine"] = "; ".join(pipeline.batcher.engine_info)
    return guesses


async def _read(request: Request) -> tuple[bytes, int]:
    """Read either form of the body -> the encoded image, and the number of labels. Raises ApiError."""
    if get_content_type(request) != "application/json":
        return await read_image(request), TOP
    asked = parse_json(HubRequest, await request.body())
    return asked.inputs, asked.parameters.top_k or TOP
