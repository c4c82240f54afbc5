"""GET /v1/models lists the served models; /v1/models/NAME describes one, and /v1/models/NAME/card is its model card."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Response

from tencrop.model.model_card import render_card
from tencrop.model.run_progress import RunProgress
from tencrop.server.errors import ApiError
from tencrop.server.failures import Responses, describe_failures
from tencrop.server.known_parameters import KnownParametersRoute
from tencrop.server.model_description import (
    ModelDescription,
    ModelEntry,
    ModelList,
    ModelMember,
    Preprocessing,
    ServedCalibration,
    ServedLabel,
)
from tencrop.server.pipeline import Pipeline
from tencrop.server.state import State

Name = Annotated[str, Path(description="a served model")]

MARKDOWN = "text/markdown"
CARD: Responses = {200: {"content": {MARKDOWN: {"schema": {"type": "string"}}}}}

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=KnownParametersRoute)


@router.get("", responses=describe_failures(422))
async def list_models(state: State) -> ModelList:
    """The served models, without their labels. Requests that name no model get the first."""
    return ModelList(models=[_describe_entry(pipeline) for pipeline in state.pipelines.values()])


@router.get("/{name}", responses=describe_failures(404, 422, 503))
def get_model(name: Name, state: State) -> ModelDescription:
    """A model's contract, labels, file and engine, and the errors that it expects."""
    pipeline = state.find_pipeline(name, HTTPStatus.NOT_FOUND)
    model, contract = pipeline.model, pipeline.model.contract
    members = model.nets if model.is_ensemble else ()
    return ModelDescription(
        **_describe_entry(pipeline).model_dump(),
        contract=Preprocessing.model_validate(contract, from_attributes=True),
        members=[ModelMember(name=member.name, sha256=member.sha256) for member in members],
        errors=model.errors,
        calibration=ServedCalibration(**model.calibration.describe()) if model.calibration else None,
        labels=[ServedLabel(index=index, id=label.id, label=label.name) for index, label in enumerate(contract.labels)],
    )


@router.get("/{name}/card", response_class=Response, responses={**CARD, **describe_failures(404, 422, 503)})
def get_card(name: Name, state: State) -> Response:
    """A model's card in the form of the Hugging Face hub. An ensemble has none, but its nets do."""
    model = state.find_pipeline(name, HTTPStatus.NOT_FOUND).model
    if model.is_ensemble:
        what = f"an ensemble has no card; its nets are {', '.join(net.name for net in model.nets)}"
        raise ApiError(HTTPStatus.NOT_FOUND, "no_card", what)
    return Response(render_card(model.nets[0], model.errors, RunProgress()), media_type=MARKDOWN)


def _describe_entry(pipeline: Pipeline) -> ModelEntry:
    model = pipeline.model
    return ModelEntry(**model.describe_status(), classes=len(model.contract.labels))
