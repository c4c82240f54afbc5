"""POST /v1/neighbours answers an image with the nearest images of an index below the data root, as figure 4 (right)."""

import asyncio
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from tencrop.images.decode_cost import CHEAP
from tencrop.server.body_images import IMAGE_BODY, read_image
from tencrop.server.data_root import DataRoot
from tencrop.server.direct_route import DirectRoute, Rendered
from tencrop.server.errors import ApiError
from tencrop.server.failures import describe_failures
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.feature_schemas import NearImage, NeighbourAnswer, NeighbourParameters
from tencrop.server.image_answer import ImageAnswer
from tencrop.server.loaded_model import LoadedModel
from tencrop.server.requester import Requester
from tencrop.server.routes.features import choose_features
from tencrop.server.routes.predict import ANSWERS
from tencrop.server.schemas import InputInfo
from tencrop.server.state import ServerState, State
from tencrop.server.timing import time_answer, timing_header

if TYPE_CHECKING:
    from tencrop.server.feature_index import FeatureIndex

THUMBNAIL_COST = 2 * CHEAP  # in units of `estimate_cost`: a file of the data set may be of any size

NeighbourQuery = Annotated[NeighbourParameters, Query()]

router = APIRouter(prefix="/v1/neighbours", tags=["features"], route_class=DirectRoute)


@router.post(
    "",
    response_model=NeighbourAnswer,
    openapi_extra=IMAGE_BODY,
    responses={**ANSWERS, **describe_failures(404, 501)},
)
async def neighbours(request: Request, state: State, query: NeighbourQuery) -> Rendered:
    """The images of an index that are nearest to one image: a form with one file `image`, or the image's bytes."""
    index = await run_in_threadpool(_open_index, _find_data_root(state), query)
    pipeline = state.find_pipeline(query.model)  # without a wait before `answer_request`: a model may be unloaded
    choice = _choose(pipeline.model, index)

    async def answer(image: bytes, requester: Requester) -> tuple[ImageAnswer, list[NearImage]]:
        answered = await pipeline.answer_image(image, requester, choice)
        with pipeline.admission.admit(requester.client, is_expensive=True):
            return answered, await _search(state, requester, index, answered, query)

    answered, found = await pipeline.answer_request(request, read_image, answer)
    assert answered.info  # the image was encoded
    rendered = NeighbourAnswer(
        model=pipeline.model.name,
        **pipeline.model.parameters,
        index=query.index,
        **choice._asdict(),
        neighbours=found,
        input=InputInfo(**answered.info._asdict()),
        timing_ms=time_answer(answered) if query.timing else None,
    )
    return Rendered(rendered, timing_header([answered]))


async def _search(
    state: ServerState, requester: Requester, index: "FeatureIndex", answered: ImageAnswer, query: NeighbourParameters
) -> list[NearImage]:
    """Search in a thread, which stops soon after the request has ended; then read the images that were found."""
    ended, run = threading.Event(), state.decode_pool.run
    try:
        found = await run(requester, index.cost, index.search, answered.batched.features, query.top, ended.is_set)
    finally:
        ended.set()
    if query.thumbnails:
        await asyncio.gather(*(run(requester, THUMBNAIL_COST, index.add_thumbnail, near) for near in found))
    return found


def _find_data_root(state: ServerState) -> DataRoot:
    """The data root of the server. Raises ApiError 404 without one, 501 without the packages that read an index."""
    if state.lacking:
        raise ApiError(HTTPStatus.NOT_IMPLEMENTED, "not_installed", f"indexes cannot be read: {state.lacking}")
    if state.settings.data_root is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "no_data_root", "no index can be read: the server has no data root")
    return DataRoot(state.settings.data_root.resolve(), state.settings.state_dir.resolve())


def _open_index(root: DataRoot, query: NeighbourParameters) -> "FeatureIndex":
    """Open the index of a request. Raises ApiError 422."""
    from tencrop.server.feature_index import FeatureIndex  # imports pyarrow, which many servers do not need

    return FeatureIndex(root, query.index, query.dataset)


def _choose(model: LoadedModel, index: "FeatureIndex") -> FeatureChoice:
    """The features that an index has, asked of a model. Raises ApiError 422 where the model gives others."""
    origin = index.origin
    choice = choose_features(model, origin.layer, origin.views)
    if origin.model_sha256 != model.sha256:
        message = (
            f"index: its features are of the model {origin.model_sha256[:12]}, and {model.name} is "
            f"{model.sha256[:12]}; take them again with `tencrop features --model`"
        )
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_index", message)
    if index.width != (width := model.features[choice.layer]):
        message = f"index: has {index.width} numbers of an image, and {choice.layer} of {model.name} has {width}"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_index", message)
    return choice
