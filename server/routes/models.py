"""GET /v1/models lists the served models; /v1/models/NAME describes one, with its labels."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path

from tencrop.runtime.classifier import Classifier
from tencrop.server.failures import describe_failures
from tencrop.server.known_parameters import KnownParametersRoute
from tencrop.server.pipeline import Pipeline
from tencrop.server.schemas import ModelDescription, ModelEntry, ModelList, ModelMember, Preprocessing, ServedLabel
from tencrop.server.state import State

Name = Annotated[str, Path(description="a served model")]

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
    members = () if isinstance(model, Classifier) else model.members
    return ModelDescription(
        **_describe_entry(pipeline).model_dump(),
        contract=Preprocessing.model_validate(contract, from_attributes=True),
        members=[ModelMember(name=member.name, sha256=member.sha256) for member in members],
        errors=state.errors[name],
        labels=[ServedLabel(index=index, id=label.id, label=label.name) for index, label in enumerate(contract.labels)],
    )


def _describe_entry(pipeline: Pipeline) -> ModelEntry:
    model = pipeline.model
    engine = pipeline.batcher.engine_info._asdict()
    return ModelEntry(name=model.name, **engine, classes=len(model.contract.labels), sha256=model.sha256)
