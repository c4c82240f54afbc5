"""Reads the images of a request's body: one encoded image, a form of images, or JSON."""

from typing import Any

from fastapi import Request
from pydantic import BaseModel

from tencrop.server.body_stream import read_body
from tencrop.server.errors import bad_parameter_error, unsupported_format_error
from tencrop.server.form import FORM, read_files
from tencrop.server.json_body import JSON, get_content_type
from tencrop.server.schemas import HubRequest

OCTET_STREAM = "application/octet-stream"
REFERENCE = "#/components/schemas/{model}"  # of a schema in the OpenAPI document
BINARY = {"type": "string", "format": "binary", "contentMediaType": OCTET_STREAM}  # older and newer tools read one each


def describe_body(schemas: dict[str, Any], required: bool = True) -> dict[str, Any]:
    """A route's body in the OpenAPI document, from a schema for each media type."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": required, "content": content}}


def refer(kind: type[BaseModel]) -> dict[str, str]:
    """The schema of a model that is among the document's components (server/openapi.py)."""
    return {"$ref": REFERENCE.format(model=kind.__name__)}


def _describe_form(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: schema}}


IMAGE_BODY = describe_body({FORM: _describe_form("image", BINARY), OCTET_STREAM: BINARY})
BATCH_BODY = describe_body({FORM: _describe_form("images", {"type": "array", "items": BINARY})})
HUB_BODY = describe_body({OCTET_STREAM: BINARY, JSON: refer(HubRequest)})


async def read_image(request: Request) -> bytes:
    """Read the one image of a request. Raises ApiError for JSON, and for a form without exactly one file `image`."""
    content_type = get_content_type(request)
    if content_type == JSON:
        raise unsupported_format_error("send the image's bytes, or a form with a file `image`")
    if content_type != FORM:
        return await read_body(request)
    images = await read_files(request, "image", 1)
    if len(images) != 1:
        raise bad_parameter_error("the form must have one file field named `image`")
    return images[0]


async def read_form_images(request: Request, max_images: int) -> list[bytes]:
    """Read the files `images` of a form. Raises ApiError for any other body, for no file, and above `max_images`."""
    if get_content_type(request) != FORM:
        raise unsupported_format_error(f"send {FORM} with files `images`")
    images = await read_files(request, "images", max_images)
    if not images:
        raise bad_parameter_error("the form must have file fields named `images`")
    return images
