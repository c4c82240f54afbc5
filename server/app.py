"""The ASGI application: routes, limits and error answers around the served models."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from model.classifier import Classifier
from server.errors import answer_errors
from server.limits import BodyLimits
from server.routes import health, page, predict, validations
from server.settings import Settings
from server.state import State
from server.validation.store import open_store


def create_app(classifiers: Sequence[Classifier], settings: Settings) -> FastAPI:
    """An application that serves these models, the first of them where a request names none. Raises BadInput for a bad folder."""
    store = open_store(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.serving = State(classifiers, settings, store)
        yield
        app.state.serving.close()

    app = FastAPI(title="tencrop", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(BodyLimits, max_bytes=settings.max_body_bytes, seconds=settings.body_seconds)
    answer_errors(app)
    for room in (predict, validations, health, page):
        app.include_router(room.router)
    return app
