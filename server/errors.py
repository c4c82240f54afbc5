"""Status and JSON body of every error answer: {"error": {"code", "message"}}, under /v2 {"error": message}."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tencrop.common.errors import lower_first
from tencrop.images.errors import ImageError
from tencrop.server.paths import find_allowed_methods

STATUS = {  # by the code of an ImageError
    "damaged_image": HTTPStatus.BAD_REQUEST,
    "image_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported_format": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "no_answer": HTTPStatus.UNPROCESSABLE_ENTITY,
}

REFUSED = "tencrop.refused"  # in a request's scope: the ApiError of a request that its connection refused


class ApiError(HTTPException):
    """An error answer, raised by routes and by the functions that they call.

    It is an HTTPException, for FastAPI turns any other exception into a 400 while it reads a body.
    """

    def __init__(self, status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code

    def __str__(self) -> str:
        return self.detail

    def response(self, path: str) -> JSONResponse:
        """The error as JSON, in the form of the interface that `path` belongs to."""
        error = str(self) if path.startswith("/v2") else {"code": self.code, "message": str(self)}
        return JSONResponse({"error": error}, self.status_code, self.headers)


def shutting_down_error(headers: Mapping[str, str] | None = None) -> ApiError:
    """503 for every request after SIGTERM."""
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down", "the server is shutting down", headers)


def internal_error() -> ApiError:
    """500 where the server is at fault."""
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why")


def bad_request_error(message: str) -> ApiError:
    """400 for a body that cannot be read."""
    return ApiError(HTTPStatus.BAD_REQUEST, "bad_request", message)


def bad_parameter_error(message: str) -> ApiError:
    """422 for a parameter, a form or a document that does not fit."""
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", message)


def body_too_large_error(message: str) -> ApiError:
    """413 for a body above a limit."""
    return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", message)


def unsupported_format_error(message: str) -> ApiError:
    """415 for a Content-Type that a route does not take."""
    return ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_format", message)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every way in which a request can fail by an error object. RequestLog answers the server's own failures."""

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> JSONResponse:
        return error.response(request.url.path)

    @app.exception_handler(ClientDisconnect)
    async def client_left(request: Request, _: ClientDisconnect) -> JSONResponse:  # nobody reads the answer
        return ApiError(HTTPStatus.BAD_REQUEST, "client_left", "the client left").response(request.url.path)

    @app.exception_handler(ImageError)
    async def image_error(request: Request, error: ImageError) -> JSONResponse:
        return ApiError(STATUS[error.code], error.code, error.what).response(request.url.path)

    @app.exception_handler(RequestValidationError)
    async def bad_parameter(request: Request, error: RequestValidationError) -> JSONResponse:
        return validation_error(error).response(request.url.path)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        status, headers = HTTPStatus(error.status_code), error.headers
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers = {"Allow": ", ".join(find_allowed_methods(request))}
        return ApiError(status, status.name.lower(), str(error.detail), headers).response(request.url.path)


def validation_error(error: RequestValidationError | ValidationError) -> ApiError:
    """422 with the first fault that pydantic found in a request, and where it lies, such as inputs.0.shape."""
    first = error.errors()[0]
    path = first["loc"][1:] if isinstance(error, RequestValidationError) else first["loc"]  # behind query or path
    where = ".".join(map(str, path))
    return bad_parameter_error(f"{where}: {lower_first(first['msg'])}".removeprefix(": "))
