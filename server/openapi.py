"""The OpenAPI document: FastAPI's own, with the API keys and the bodies that routes read themselves."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from tencrop.server.body_images import REFERENCE
from tencrop.server.failures import HEADERS, REASONS
from tencrop.server.keys import is_guarded
from tencrop.server.oip.schemas import IndexRequest, InferRequest, RepositoryRequest
from tencrop.server.schemas import HubRequest, NewValidation
from tencrop.server.shadow_schemas import NewFeedback

BODIES = (HubRequest, IndexRequest, InferRequest, NewFeedback, NewValidation, RepositoryRequest)
TAGS = {
    "predict": "Labels of photographs.",
    "features": "The values of a hidden layer, and the images whose values are nearest.",
    "models": "What is served.",
    "Open Inference Protocol": "The interface of KServe and Triton. NAME takes encoded images, NAME-pixels squares.",
    "validations": "Errors on data sets that lie on the server.",
    "shadow": "How often a second model disagrees with the first, and which of them was right.",
    "operation": "Probes.",
}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "a key that `tencrop key NAME` made"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same key"},
}


def complete_openapi(app: FastAPI, has_keys: bool) -> None:
    """Complete the document when it is asked for, and once; `has_keys` says that the server asks for keys."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = generate()
        _add_bodies(document)
        document["security"] = []
        if has_keys:
            _add_keys(document)
        for operation in iter_operations(document):
            operation["responses"] = dict(sorted(operation["responses"].items()))
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def iter_operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The operations of all paths."""
    for operations in document["paths"].values():
        yield from operations.values()


def _add_bodies(document: dict[str, Any]) -> None:
    _, schemas = models_json_schema([(kind, "validation") for kind in BODIES], ref_template=REFERENCE)
    document["components"]["schemas"] |= schemas["$defs"]


def _add_keys(document: dict[str, Any]) -> None:
    document["components"]["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if is_guarded(path, method.upper()):
                operation["security"] = [{name: []} for name in SCHEMES]
                refused = {"description": REASONS[401], **HEADERS[401]}
                operation["responses"]["401"] = operation["responses"]["4XX"] | refused
