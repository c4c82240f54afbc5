"""What a client hears when a request cannot be answered: {"error": {"code", "message"}} and the right status."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from model.preprocess import ImageError

STATUS = {  # of an ImageError's code
    "damaged_image": HTTPStatus.BAD_REQUEST,
    "image_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported_format": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
}


class Refusal(Exception):
    """An answer that is an error object: raised by routes and by what they call."""

    def __init__(self, status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers

    def response(self) -> JSONResponse:
        """As it goes to the client."""
        return error_response(self.status, self.code, str(self), self.headers)


def error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The error object."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def answer_errors(app: FastAPI) -> None:
    """Every way a request can fail, as an error object."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> JSONResponse:
        return error.response()

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, __: ClientDisconnect) -> JSONResponse:
        return error_response(HTTPStatus.BAD_REQUEST, "client_left", "the client left")  # nobody reads it, nothing is logged

    @app.exception_handler(Exception)
    async def broke(_: Request, __: Exception) -> JSONResponse:
        return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why")

    @app.exception_handler(ImageError)
    async def bad_image(_: Request, error: ImageError) -> JSONResponse:
        return error_response(STATUS[error.code], error.code, str(error))

    @app.exception_handler(RequestValidationError)
    async def bad_parameter(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return error_response(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", f"{first['loc'][-1]}: {first['msg'].lower()}")

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        code = HTTPStatus(error.status_code).name.lower()
        return error_response(error.status_code, code, str(error.detail), error.headers)
