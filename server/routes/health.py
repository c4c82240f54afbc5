"""GET /healthz, /readyz and /metrics.

/healthz says that the process lives. /readyz says that it answers: every engine has reproduced its probe and runs.
"""

from fastapi import APIRouter, Request, Response

from tencrop.server.accepted_metrics import prefers_openmetrics
from tencrop.server.failures import describe_failures
from tencrop.server.schemas import ModelStatus, Readiness
from tencrop.server.state import State

router = APIRouter(tags=["operation"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answers as long as the process lives."""
    return {"status": "alive"}


@router.get("/readyz", responses=describe_failures(503))
async def readyz(state: State) -> Readiness:
    """The served models, with what computes the answers of each, and the bytes that they come from."""
    state.check_ready()
    models = [ModelStatus(**pipeline.model.describe_status()) for pipeline in state.pipelines.values()]
    return Readiness(status="ready", models=models)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, state: State) -> Response:
    """The metrics in the text format of Prometheus, or in OpenMetrics where the client prefers it."""
    accept = ",".join(request.headers.getlist("accept"))
    text, content_type = state.metrics.render(prefers_openmetrics(accept))
    return Response(text, headers={"Content-Type": content_type, "Vary": "Accept"})
