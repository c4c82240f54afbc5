"""GET /healthz (the process lives) and /readyz (it answers: every engine has reproduced its probe and its thread runs)."""

from http import HTTPStatus

from fastapi import APIRouter

from server.errors import Refusal
from server.schemas import ModelStatus, Readiness
from server.state import Serving

router = APIRouter()


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> dict[str, str]:
    """Always answered while the process lives."""
    return {"status": "alive"}


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(serving: Serving) -> Readiness:
    """Which models are served, and what runs each of them at what precision."""
    if serving.draining:
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down", "the server is shutting down")
    dead = [name for name, batcher in serving.batchers.items() if not batcher.alive]
    if dead:
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", f"the engine of {dead[0]} has stopped")
    classifiers = [batcher.classifier for batcher in serving.batchers.values()]
    return Readiness(
        status="ready",
        models=[ModelStatus(name=c.name, engine=c.engine.name, device=c.engine.device, precision=c.engine.precision) for c in classifiers],
    )
