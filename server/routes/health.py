"""GET /healthz (the process lives), /readyz (it answers: every engine has reproduced its probe and its thread runs), /metrics."""

from fastapi import APIRouter, Response

from tencrop.server.metrics import CONTENT_TYPE
from tencrop.server.schemas import ModelStatus, Readiness
from tencrop.server.state import Serving

router = APIRouter(tags=["operation"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Always answered while the process lives."""
    return {"status": "alive"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz")
async def readyz(serving: Serving) -> Readiness:
    """Which models are served, and what runs each of them at what precision."""
    serving.check_ready()
    models = [ModelStatus(name=name, **batcher.ran._asdict()) for name, batcher in serving.batchers.items()]
    return Readiness(status="ready", models=models)


@router.get("/metrics", include_in_schema=False)
async def metrics(serving: Serving) -> Response:
    """For Prometheus."""
    return Response(serving.metrics.text(), media_type=CONTENT_TYPE)
