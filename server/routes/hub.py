"""POST /v1/image-classification: what `huggingface_hub.InferenceClient(model=URL).image_classification` sends and expects."""

from fastapi import APIRouter, Request, Response

from tencrop.model.metrics import top_k
from tencrop.server.body_images import HUB_BODY, get_content_type, parse_json, read_image
from tencrop.server.pipeline import answer, with_deadline
from tencrop.server.routes.predict import Model
from tencrop.server.schemas import HubGuess, HubRequest
from tencrop.server.state import State

TOP = 5  # where the client does not say

router = APIRouter(tags=["predict"])


@router.post("/v1/image-classification", openapi_extra=HUB_BODY)
async def image_classification(
    request: Request, response: Response, state: State, model: Model = None
) -> list[HubGuess]:
    """The image's bytes, or JSON with the image in base64; the most probable labels. What ran is in the header X-Tencrop-Engine."""
    batcher = state.batcher(model)
    batcher.check_room()
    data, top = (
        _read(await request.body())
        if get_content_type(request) == "application/json"
        else (await read_image(request), TOP)
    )
    with batcher.admitted():
        answered = await with_deadline(state, request, answer(state, batcher, data))
    response.headers["X-Tencrop-Engine"] = "; ".join(batcher.engine_info)
    probabilities = answered.prediction.probabilities
    labels = batcher.model.contract.labels
    return [HubGuess(label=labels[i].name, score=float(probabilities[i])) for i in map(int, top_k(probabilities, top))]


def _read(body: bytes) -> tuple[bytes, int]:
    """The image, and how many labels. Raises ApiError."""
    asked = parse_json(HubRequest, body)
    return asked.inputs, asked.parameters.top_k or TOP
