"""Reads the images of a request's body: one encoded image, a form of images, or JSON."""

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


def _describe_body(schemas: dict[str, Any]) -> dict[str, Any]:
    """A route's body in the OpenAPI document, from a schema for each media type."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def _describe_form(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: schema}}


IMAGE_BODY = _describe_body({FORM: _describe_form("image", BINARY), "application/octet-stream": BINARY})
BATCH_BODY = _describe_body({FORM: _describe_form("images", {"type": "array", "items": BINARY})})
HUB_BODY = _describe_body({"application/octet-stream": BINARY, "application/json": HubRequest.model_json_schema()})


class _FormParser(MultiPartParser):
    """Keeps a form's files in memory: BodyLimits bounds bodies as they arrive, and no file goes to a disk."""

    spool_max_size = 1 << 40


async def read_image(request: Request) -> bytes:
    """Read the one image of a request. Raises ApiError for JSON, and for a form without exactly one file `image`."""
    content_type = get_content_type(request)
    if content_type == "application/json":
        why = "send the image's bytes, or a form with a file `image`"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_format", why)
    if content_type != FORM:
        return await request.body()
    images = await _read_files(request, "image", 1)
    if len(images) != 1:
        why = "the form must have one file field named `image`"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", why)
    return images[0]


async def read_form_images(request: Request, max_images: int) -> list[bytes]:
    """Read the files `images` of a form. Raises ApiError for any other body, for no file, and above `max_images`."""
    if get_content_type(request) != FORM:
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_format", f"send {FORM} with files `images`")
    images = await _read_files(request, "images", max_images)
    if not images:
        why = "the form must have file fields named `images`"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", why)
    return images


def parse_json(kind: type[Document], body: bytes) -> Document:
    """Parse and validate a JSON body. Raises ApiError 422."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise validation_error(error) from None


def get_content_type(request: Request) -> str:
    """The media type of the body in lower case, without parameters; an empty string where the client sends none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read_files(request: Request, name: str, max_files: int) -> list[bytes]:
    """The files of one field. Raises ApiError where the field holds text, or more files than `max_files`."""
    try:
        async with aclosing(request.stream()) as stream:
            form = await _FormParser(request.headers, stream, max_files=max_files + 1, max_fields=MAX_FIELDS).parse()
    except MultiPartException as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_request", error.message) from None
    except ValueError:  # a bad boundary, charset or field name
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_request", "the form cannot be read") from None
    try:
        files = form.getlist(name)
        if len(files) > max_files or not all(isinstance(file, UploadFile) for file in files):
            why = f"the form must have file fields named `{name}`, at most {max_files}"
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", why)
        return [await file.read() for file in files if isinstance(file, UploadFile)]
    finally:
        await form.close()
