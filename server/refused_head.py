"""RefusedHead, and the errors with which a connection refuses a request that never reaches a route."""

from http import HTTPStatus

import httptools

from tencrop.server.errors import ApiError


class RefusedHead:
    """Stands in for the parser of a request that was refused before its head was complete."""

    def __init__(self, method: bytes) -> None:
        self._method = method

    def get_method(self) -> bytes:
        return self._method

    def get_http_version(self) -> str:
        return "1.1"

    def should_upgrade(self) -> bool:
        return False

    def should_keep_alive(self) -> bool:
        return False


def bad_request(message: str) -> ApiError:
    """400 with this message."""
    return ApiError(HTTPStatus.BAD_REQUEST, "bad_request", message)


def not_http(error: httptools.HttpParserError) -> ApiError:
    """400 with the parser's reason."""
    known = not isinstance(error, httptools.HttpParserCallbackError)  # else its text names a part of the parser
    return bad_request(f"the request is not valid HTTP{f': {error}' if known else ''}")


def head_too_large(limit: int) -> ApiError:
    """431 with the limit in bytes."""
    return _refuse_head(f"the request's head exceeds {limit} bytes")


def too_many_headers(limit: int) -> ApiError:
    """431 with the number of headers that a request may have."""
    return _refuse_head(f"the request has more than {limit} headers")


def late(seconds: float) -> ApiError:
    """504: the end of the request is late."""
    why = f"the end of the request took longer than {seconds:g} s to arrive"
    return ApiError(HTTPStatus.GATEWAY_TIMEOUT, "deadline", why)


def _refuse_head(message: str) -> ApiError:
    return ApiError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", message)
