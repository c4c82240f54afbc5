"""Reads the images of a request's body: one encoded image, a form of images, or JSON."""

from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from tencrop.server.body_stream import max_body_bytes, read_body, stream_body
from tencrop.server.errors import ApiError, bad_parameter_error, unsupported_format_error
from tencrop.server.json_body import JSON, get_content_type
from tencrop.server.known_parameters import unknown_name_error
from tencrop.server.schemas import HubRequest

FORM = "multipart/form-data"
MAX_FIELDS = 8  # of a form, beside its files
BINARY = {"type": "string", "format": "binary"}


def describe_body(schemas: dict[str, Any]) -> dict[str, Any]:
    """A route's body in the OpenAPI document, from a schema for each media type."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def _describe_form(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: schema}}


IMAGE_BODY = describe_body({FORM: _describe_form("image", BINARY), "application/octet-stream": BINARY})
BATCH_BODY = describe_body({FORM: _describe_form("images", {"type": "array", "items": BINARY})})
HUB_BODY = describe_body({"application/octet-stream": BINARY, JSON: HubRequest.model_json_schema()})


class _FormParser(MultiPartParser):
    """Keeps a form's files in memory: BodyLimits limits bodies as they arrive, and no file goes to a disk."""

    spool_max_size = 1 << 40


async def read_image(request: Request) -> bytes:
    """Read the one image of a request. Raises ApiError for JSON, and for a form without exactly one file `image`."""
    content_type = get_content_type(request)
    if content_type == JSON:
        raise unsupported_format_error("send the image's bytes, or a form with a file `image`")
    if content_type != FORM:
        return await read_body(request)
    images = await _read_files(request, "image", 1)
    if len(images) != 1:
        raise bad_parameter_error("the form must have one file field named `image`")
    return images[0]


async def read_form_images(request: Request, max_images: int) -> list[bytes]:
    """Read the files `images` of a form. Raises ApiError for any other body, for no file, and above `max_images`."""
    if get_content_type(request) != FORM:
        raise unsupported_format_error(f"send {FORM} with files `images`")
    images = await _read_files(request, "images", max_images)
    if not images:
        raise bad_parameter_error("the form must have file fields named `images`")
    return images


async def _read_files(request: Request, name: str, max_files: int) -> list[bytes]:
    """The files of one field.

    Raises ApiError where the field holds text, or more files than `max_files`, and where there is another field.
    """
    try:
        async with aclosing(stream_body(request, max_body_bytes(request))) as stream:
            form = await _FormParser(request.headers, stream, max_files=max_files + 1, max_fields=MAX_FIELDS).parse()
    except MultiPartException as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_request", error.message) from None
    except ValueError:  # a bad boundary, charset or field name
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_request", "the form cannot be read") from None
    try:
        if unknown := next((field for field in form if field != name), None):
            raise unknown_name_error("form field", unknown, [name])
        files = form.getlist(name)
        if len(files) > max_files or not all(isinstance(file, UploadFile) for file in files):
            raise bad_parameter_error(f"the form must have file fields named `{name}`, at most {max_files}")
        return [await file.read() for file in files if isinstance(file, UploadFile)]
    finally:
        await form.close()
