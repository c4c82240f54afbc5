"""Turns a gRPC request into the body of the HTTP request that answers it, and the answer into a message."""

import json
import struct
from http import HTTPStatus
from typing import Any

from google.protobuf import json_format
from grpc import StatusCode
from pydantic_core import to_json

from tencrop.server.errors import bad_request_error
from tencrop.server.oip_grpc.messages import message_class

STATUS = {  # by the HTTP status of the same fault
    HTTPStatus.BAD_REQUEST: StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: StatusCode.NOT_FOUND,
    HTTPStatus.CONFLICT: StatusCode.FAILED_PRECONDITION,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNPROCESSABLE_ENTITY: StatusCode.INVALID_ARGUMENT,
    HTTPStatus.TOO_MANY_REQUESTS: StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.INTERNAL_SERVER_ERROR: StatusCode.INTERNAL,
    HTTPStatus.SERVICE_UNAVAILABLE: StatusCode.UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
}
MAX_DETAILS = 600  # characters, of at most 12 bytes: a client refuses an answer with more than 8 KiB of metadata
InferResponse = message_class("ModelInferResponse")


def translate_status(status: int) -> StatusCode:
    """The gRPC status of an HTTP status; UNKNOWN for one that the service's routes do not answer."""
    return STATUS.get(HTTPStatus(status), StatusCode.UNKNOWN)


def translate_infer(request: Any) -> tuple[bytes, int]:
    """A ModelInferRequest -> the HTTP request's body, JSON with binary tensors behind it; and the JSON's length.

    Raises ApiError 400 where the tensors' data are not there.
    """
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise bad_request_error(f"{len(raw)} raw_input_contents of {len(request.inputs)} inputs")
    data = raw or [_pack(tensor) for tensor in request.inputs]
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "parameters": {**_read_parameters(tensor), "binary_data_size": len(part)},
        }
        for tensor, part in zip(request.inputs, data, strict=True)
    ]
    outputs = [
        {"name": output.name, "parameters": {**_read_parameters(output), "binary_data": True}}
        for output in request.outputs
    ]
    asked: dict[str, Any] = {"inputs": inputs, "outputs": outputs or None}
    asked["parameters"] = {**_read_parameters(request), "binary_data_output": True}
    asked |= {"id": request.id} if request.id else {}
    text = to_json(asked)
    return b"".join((text, *data)), len(text)


def translate_request(request: Any) -> bytes:
    """A request without tensors -> the HTTP request's body: its parameters, or what the repository's index shows."""
    fields = request.DESCRIPTOR.fields_by_name
    if "parameters" in fields:
        return to_json({"parameters": _read_parameters(request)}, bytes_mode="base64")
    return to_json({"ready": request.ready}) if "ready" in fields else b""


def translate_answer(body: bytes, json_length: int) -> Any:
    """The body of an HTTP answer with binary outputs -> a ModelInferResponse."""
    answer = json.loads(body[:json_length])
    message = InferResponse(
        model_name=answer["model_name"], model_version=answer["model_version"], id=answer.get("id", "")
    )
    for name, value in answer["parameters"].items():
        message.parameters[name].string_param = value
    start = json_length
    for tensor in answer["outputs"]:
        message.outputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        end = start + tensor["parameters"]["binary_data_size"]
        message.raw_output_contents.append(body[start:end])
        start = end
    return message


def translate_json(body: bytes, wrap: str, kind: Any) -> Any:
    """The JSON of an HTTP answer -> a message of a kind. What the protocol's message has no field for is left out."""
    answer = json.loads(body)
    return json_format.ParseDict({wrap: answer} if wrap else answer, kind(), ignore_unknown_fields=True)


def read_error(body: bytes) -> str:
    """The message of an error answer of /v2; of a long one the beginning."""
    text = str(json.loads(body)["error"])
    return text if len(text) <= MAX_DETAILS else f"{text[:MAX_DETAILS]}..."


def _read_parameters(holder: Any) -> dict[str, Any]:
    parameters = {}
    for name, value in holder.parameters.items():
        choice = value.WhichOneof("parameter_choice")
        parameters[name] = getattr(value, choice) if choice else None
    return parameters


def _pack(tensor: Any) -> bytes:
    """The contents of a tensor as the bytes that raw_input_contents would hold. Raises ApiError 400."""
    contents = tensor.contents
    if tensor.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(element)) + element for element in contents.bytes_contents)
    try:
        return bytes(contents.uint_contents)
    except ValueError:
        raise bad_request_error("uint_contents: expected whole numbers from 0 to 255") from None
