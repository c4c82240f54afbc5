"""The ASGI application: routes, limits and error answers around the served models."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from tencrop import __version__
from tencrop.common.errors import BadInput
from tencrop.model.measured_errors import read_measured_errors
from tencrop.runtime.engine import engine_signature
from tencrop.runtime.ensemble import Predictor
from tencrop.server.allowed_hosts import AllowedHosts
from tencrop.server.body_limits import BodyLimits
from tencrop.server.errors import add_error_handlers
from tencrop.server.failures import describe_failures, describe_rest
from tencrop.server.head_requests import HeadRequests
from tencrop.server.hub_json import base64_json_bytes
from tencrop.server.job_store import open_job_store
from tencrop.server.keys import ApiKeys, Keys
from tencrop.server.oip import routes as oip_routes
from tencrop.server.openapi import TAGS, complete_openapi
from tencrop.server.paths import RootPath, accept_final_slashes
from tencrop.server.request_log import RequestLog
from tencrop.server.routes import docs, folders, health, hub, page, predict, validations
from tencrop.server.routes import models as model_routes
from tencrop.server.settings import Settings
from tencrop.server.state import ServerState

EXPOSED = (
    "Link",
    "Location",
    "Retry-After",
    "X-Request-Id",
    "X-Tencrop-Engine",
)  # headers that pages of other origins read


def create_app(models: Sequence[Predictor], settings: Settings, is_local: bool = False) -> FastAPI:
    """Build an application that serves these models; requests that name no model get the first.

    Models of one name are one model on several devices. `is_local` says that only this machine reaches the server,
    which then answers to its own names alone. Raises BadInput for a bad folder, key file or summary.json, and where
    devices of one model would give different answers.
    """
    _check_same_answers(models)
    errors = {model.name: read_measured_errors(model.members[0].file.folder, model.sha256) for model in models}
    store = open_job_store(settings)
    keys = Keys.read(settings.api_key_file) if settings.api_key_file else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.server_state = ServerState(models, errors, settings, store)
        yield
        app.state.server_state.close()

    app = FastAPI(
        title="tencrop",
        version=__version__,
        description="The 2012 AlexNet's ten-crop prediction. "
        "A server with --api-key-file wants the header `Authorization: Bearer KEY` under /v1 and /v2.",
        license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        docs_url=None,
        redoc_url=None,
        servers=[{"url": settings.root_path or "/"}],
        lifespan=lifespan,
        responses={**describe_failures(500), **describe_rest()},
        generate_unique_id_function=lambda route: route.name,
    )
    _add_middleware(app, settings, keys, is_local)
    add_error_handlers(app)
    for routes in (predict, hub, model_routes, oip_routes, validations, folders, health, docs, page):
        app.include_router(routes.router)
    complete_openapi(app, keys is not None)
    accept_final_slashes(app)
    return app


def _add_middleware(app: FastAPI, settings: Settings, keys: Keys | None, is_local: bool) -> None:
    """Add the middlewares from the innermost to the outermost: a key is checked before a body is read."""
    app.add_middleware(HeadRequests)
    app.add_middleware(
        BodyLimits,
        max_bytes=settings.max_body_bytes,
        max_json_bytes=base64_json_bytes(settings.max_body_bytes),
        seconds=settings.body_seconds,
        max_total=settings.max_bodies_bytes,
    )
    if keys:
        app.add_middleware(ApiKeys, keys=keys)
    if settings.cors_origins:  # outside the keys, for a browser's first question carries none
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("*",),
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )
    if is_local or settings.allowed_host:
        app.add_middleware(AllowedHosts, names=settings.allowed_host or ())
    app.add_middleware(RequestLog)
    if settings.root_path:
        app.add_middleware(RootPath, root=settings.root_path)


def _check_same_answers(models: Sequence[Predictor]) -> None:
    """Compare the engines of models of one name. Raises BadInput where their signatures differ."""
    signatures: dict[str, str] = {}
    for model in models:
        signature = engine_signature(model.engine)
        if (first := signatures.setdefault(model.name, signature)) != signature:
            what = f"--device: {model.name} would be {first} and {signature}, with two answers to one image"
            raise BadInput(what, "name devices of one kind")
