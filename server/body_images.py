"""What a request's body holds: an encoded image, or a form of them."""

from contextlib import aclosing
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from tencrop.server.errors import ApiError, validation_error
from tencrop.server.schemas import HubRequest

FORM = "multipart/form-data"
MAX_FIELDS = 8  # of a form, beside its files
BINARY = {"type": "string", "format": "binary"}

Document = TypeVar("Document", bound=BaseModel)


def _body(kinds: dict[str, Any]) -> dict[str, Any]:
    """A route's body in the OpenAPI document."""
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema} for kind, schema in kinds.items()}}}


def _form(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: schema}}


IMAGE_BODY = _body({FORM: _form("image", BINARY), "application/octet-stream": BINARY})
BATCH_BODY = _body({FORM: _form("images", {"type": "array", "items": BINARY})})
HUB_BODY = _body({"application/octet-stream": BINARY, "application/json": HubRequest.model_json_schema()})


class _FormParser(MultiPartParser):
    """Keeps a form's files in memory: BodyLimits bounds bodies as they arrive, and no file goes to a disk."""

    spool_max_size = 1 << 40


async def read_image(request: Request) -> bytes:
    """The image of a request. Raises ApiError where the body is JSON or a form without exactly one file `image`."""
    kind = get_content_type(request)
    if kind == "application/json":
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_format",
            "send the image's bytes, or a form with a file `image`",
        )
    if kind != FORM:
        return await request.body()
    images = await _files(request, "image", 1)
    if len(images) != 1:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", "the form must have one file field named `image`"
        )
    return images[0]


async def read_form_images(request: Request, most: int) -> list[bytes]:
    """The files `images` of a form. Raises ApiError where it is none, has none, or has more than `most`."""
    if get_content_type(request) != FORM:
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_format", f"send {FORM} with files `images`")
    images = await _files(request, "images", most)
    if not images:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", "the form must have file fields named `images`"
        )
    return images


def parse_json(kind: type[Document], body: bytes) -> Document:
    """A body of JSON. Raises ApiError where it does not fit."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise validation_error(error) from None


def get_content_type(request: Request) -> str:
    """Without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _files(request: Request, name: str, most: int) -> list[bytes]:
    """The files of this name. Raises ApiError where one of them is text, or where there are more files than `most`."""
    try:
        async with aclosing(request.stream()) as stream:
            form = await _FormParser(request.headers, stream, max_files=most + 1, max_fields=MAX_FIELDS).parse()
    except MultiPartException as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_request", error.message) from None
    except ValueError:  # a bad boundary, charset or field name
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_request", "the form cannot be read") from None
    try:
        files = form.getlist(name)
        if len(files) > most or not all(isinstance(file, UploadFile) for file in files):
            why = f"the form must have file fields named `{name}`, at most {most}"
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", why)
        return [await file.read() for file in files if isinstance(file, UploadFile)]
    finally:
        await form.close()
