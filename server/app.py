"""The ASGI application: routes, limits and error answers around the served models."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from tencrop.common.errors import BadInput
from tencrop.runtime.engine import engine_signature
from tencrop.runtime.ensemble import Predictor
from tencrop.server.body_limits import BodyLimits
from tencrop.server.errors import answer_errors
from tencrop.server.job_store import open_job_store
from tencrop.server.keys import ApiKeys, Keys
from tencrop.server.oip import routes as inference
from tencrop.server.request_log import RequestLog
from tencrop.server.routes import docs, health, hub, page, predict, validations
from tencrop.server.schemas import Failure
from tencrop.server.settings import Settings
from tencrop.server.state import ServerState


def create_app(models: Sequence[Predictor], settings: Settings) -> FastAPI:
    """An application that serves these models, the first of them where a request names none.

    Raises BadInput for a bad folder or key file, or where the devices of one model would answer differently.
    """
    _check_alike(models)
    store = open_job_store(settings)
    keys = Keys.read(settings.api_key_file) if settings.api_key_file else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.server_state = ServerState(models, settings, store)
        yield
        app.state.server_state.close()

    app = FastAPI(
        title="tencrop",
        version=version("tencrop"),
        description="The 2012 AlexNet's ten-crop prediction. With --api-key-file, /v1 and /v2 take `Authorization: Bearer KEY`.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={"4XX": {"model": Failure, "description": "what is wrong with the request"}},
    )
    app.add_middleware(
        BodyLimits,
        max_bytes=settings.max_body_bytes,
        seconds=settings.body_seconds,
        max_total=settings.max_bodies_bytes,
    )
    if keys:
        app.add_middleware(ApiKeys, keys=keys)
    app.add_middleware(RequestLog)
    answer_errors(app)
    for room in (predict, hub, inference, validations, health, docs, page):
        app.include_router(room.router)
    return app


def _check_alike(models: Sequence[Predictor]) -> None:
    """Models of one name are one model on several devices. Raises BadInput where they do not run alike."""
    ways: dict[str, str] = {}
    for model in models:
        this = engine_signature(model.engine)
        if (first := ways.setdefault(model.name, this)) != this:
            raise BadInput(
                f"--device: {model.name} would be {first} and {this}, with two answers to one image; name devices of one kind"
            )
