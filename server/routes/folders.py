"""GET /v1/folders: the folders below --data-root that a validation can name."""

from typing import Annotated

from fastapi import APIRouter, Query

from tencrop.server.failures import describe_failures
from tencrop.server.known_parameters import KnownParametersRoute
from tencrop.server.routes.validations import OpenJobs
from tencrop.server.schemas import Folders

Below = Annotated[str, Query(max_length=1024, description="a folder below the data root; the root itself by default")]

router = APIRouter(
    prefix="/v1/folders",
    tags=["validations"],
    route_class=KnownParametersRoute,
    responses=describe_failures(404, 422, 501),
)


@router.get("")
def list_folders(jobs: OpenJobs, below: Below = "") -> Folders:
    """The names of the folders in a folder of the data root, at most 1000. Links out of the root are left out."""
    return Folders(folders=jobs.list_folders(below))
