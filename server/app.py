"""The ASGI application: routes, limits and error answers around the served models."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from tencrop import __version__
from tencrop.runtime.ensemble import Predictor
from tencrop.server.allowed_hosts import AllowedHosts
from tencrop.server.body_limits import BodyLimits
from tencrop.server.engines import Engines, describe_models
from tencrop.server.errors import add_error_handlers
from tencrop.server.failures import describe_failures, describe_rest
from tencrop.server.head_requests import HeadRequests
from tencrop.server.hub_json import base64_json_bytes
from tencrop.server.job_store import open_job_store
from tencrop.server.keys import ApiKeys, Keys
from tencrop.server.metrics import Metrics
from tencrop.server.oip import repository_routes
from tencrop.server.oip import routes as oip_routes
from tencrop.server.open_shadow import OpenShadow
from tencrop.server.openapi import TAGS, complete_openapi
from tencrop.server.paths import RootPath, accept_final_slashes
from tencrop.server.repository import OpenRepository, Repository
from tencrop.server.request_log import RequestLog
from tencrop.server.routes import docs, features, folders, health, hub, neighbours, page, predict, validations
from tencrop.server.routes import models as model_routes
from tencrop.server.routes import shadow as shadow_routes
from tencrop.server.server_counts import ServerCounts
from tencrop.server.settings import Settings
from tencrop.server.state import ServerState

EXPOSED = (
    "Link",
    "Location",
    "Retry-After",
    "Server-Timing",
    "Traceparent",
    "Tracestate",
    "X-Request-Id",
    "X-Tencrop-Agreement",
    "X-Tencrop-Confidence",
    "X-Tencrop-Engine",
    "X-Tencrop-Model",
    "X-Tencrop-Set",
)  # headers that pages of other origins read


def create_app(
    predictors: Sequence[Predictor],
    settings: Settings,
    is_local: bool = False,
    shadow: OpenShadow | None = None,
    repository: OpenRepository | None = None,
) -> FastAPI:
    """Build an application that serves these models from this process; requests that name no model get the first.

    Predictors of one name are one model on several devices. Raises BadInput as `describe_models`, `open_job_store` and
    `read_keys` do.
    """
    models = describe_models(predictors, settings)
    store, counts = open_job_store(settings), ServerCounts(len(models))

    async def open_state() -> ServerState:
        metrics = Metrics()
        engines = Engines(predictors, models, settings, store, counts, metrics, shadow)
        state = ServerState(engines, settings, counts, metrics)
        state.repository = Repository(repository, engines, state) if repository else None
        return state

    return build_app(open_state, settings, counts, read_keys(settings), is_local)


def read_keys(settings: Settings) -> Keys | None:
    """Read the key file; None where everybody is answered. Raises BadInput."""
    return Keys.read(settings.api_key_file) if settings.api_key_file else None


def build_app(
    open_state: Callable[[], Awaitable[ServerState]],
    settings: Settings,
    counts: ServerCounts,
    keys: Keys | None,
    is_local: bool,
) -> FastAPI:
    """Build an application around a state, which is opened when the application starts.

    `is_local` says that only this machine reaches the server, which then answers to its own names alone.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.server_state = await open_state()
        yield
        app.state.server_state.close()

    app = FastAPI(
        telemetry={"tracing": False, "metrics": False, "logs": False},  # FastAPI's, asked for at each request
        title="tencrop",
        version=__version__,
        description="The 2012 AlexNet's ten-crop prediction. "
        "A server with --api-key-file wants the header `Authorization: Bearer KEY` under /v1 and /v2, "
        "and for POST /.",
        license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        docs_url=None,
        redoc_url=None,
        servers=[{"url": settings.root_path or "/"}],
        lifespan=lifespan,
        responses={**describe_failures(500), **describe_rest()},
        generate_unique_id_function=lambda route: route.name,
    )
    _add_middleware(app, settings, counts, keys, is_local)
    add_error_handlers(app)
    answering = (predict, features, neighbours, hub, model_routes, oip_routes, repository_routes)
    for routes in (*answering, validations, folders, shadow_routes, health, docs, page):
        app.include_router(routes.router)
    complete_openapi(app, keys is not None)
    accept_final_slashes(app)
    return app


def _add_middleware(app: FastAPI, settings: Settings, counts: ServerCounts, keys: Keys | None, is_local: bool) -> None:
    """Add the middlewares from the innermost to the outermost: a key is checked before a body is read."""
    app.add_middleware(HeadRequests)
    app.add_middleware(
        BodyLimits,
        max_bytes=settings.max_body_bytes,
        max_json_bytes=base64_json_bytes(settings.max_body_bytes),
        seconds=settings.body_seconds,
        max_total=settings.max_bodies_bytes,
        held=counts.bodies,
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
