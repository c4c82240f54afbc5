"""The error answers of routes in the OpenAPI document."""

from typing import Any

from pydantic import BaseModel

from tencrop.server.schemas import Failure

REASONS = {  # by status
    400: "The body or the image is damaged.",
    401: "No key was sent, or an unknown one.",
    403: "Only the owner of a key may do this, and the server asks for no keys.",
    404: "There is no such model, validation or request, or the server was started without what it needs.",
    409: "The state of the model or of the validation does not allow it.",
    410: "The report is gone from the server's disk.",
    413: "The body or the image is too large.",
    415: "The body has a type, an encoding or an image format that is not read.",
    422: "A parameter, a field or a key does not fit.",
    429: "No place is free. Retry-After, where it is sent, says when to try again.",
    500: "The server is at fault; its log says why.",
    501: "The server lacks the packages that validations and indexes need.",
    503: "The server shuts down, or an engine has ended.",
    504: "The body or the answer was not complete in time.",
    507: "The server cannot write its state folder.",
}
HEADERS: dict[int, dict[str, Any]] = {  # by status
    401: {"headers": {"WWW-Authenticate": {"schema": {"type": "string"}}}},
    429: {"headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}},
}
Responses = dict[int | str, dict[str, Any]]  # of a route, as FastAPI takes them

IMAGE_FAILURES = (400, 413, 415, 422, 429, 500, 503, 504)  # of every route that takes images


def describe_failures(*statuses: int, kind: type[BaseModel] = Failure) -> Responses:
    """The `responses` of a route that answers these statuses by an error object of a kind."""
    return {status: {"model": kind, "description": REASONS[status], **HEADERS.get(status, {})} for status in statuses}


def describe_rest(kind: type[BaseModel] = Failure) -> Responses:
    """The `responses` for the errors that any route may answer, such as an unknown host or a head that is too long."""
    return {
        "4XX": {"model": kind, "description": "Another fault of the request."},
        "5XX": {"model": kind, "description": "Another fault of the server."},
    }
