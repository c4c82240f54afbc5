"""Reads small JSON bodies into models. Parsing JSON blocks the event loop, so a body may have 64 KiB at most."""

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from tencrop.server.body_stream import read_body
from tencrop.server.errors import unsupported_format_error, validation_error
from tencrop.server.known_parameters import unknown_name_error

JSON = "application/json"
MAX_SMALL_JSON = 64 << 10  # bytes

Document = TypeVar("Document", bound=BaseModel)


async def read_json(request: Request, kind: type[Document]) -> Document:
    """Read a small JSON object without unknown keys.

    Raises ApiError 415 for any other Content-Type, so that a page of another origin cannot send the body as a form,
    413 above MAX_SMALL_JSON, 422 for the first fault.
    """
    if get_content_type(request) != JSON:
        raise unsupported_format_error(f"send {JSON}")
    body = await read_body(request, MAX_SMALL_JSON)
    _check_keys(body, list(kind.model_fields))
    return parse_json(kind, body)


def parse_json(kind: type[Document], body: bytes) -> Document:
    """Parse and validate a JSON body. Raises ApiError 422."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise validation_error(error) from None


def get_content_type(request: Request) -> str:
    """The media type of the body in lower case, without parameters; an empty string where the client sends none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_keys(body: bytes, known: list[str]) -> None:
    """Look for unknown keys. Raises ApiError 422 for the first one; pydantic alone would list all of them."""
    try:
        document = from_json(body)
    except ValueError:  # parse_json says why
        return
    if isinstance(document, dict) and (unknown := next((key for key in document if key not in known), None)):
        raise unknown_name_error("key", unknown, known)
