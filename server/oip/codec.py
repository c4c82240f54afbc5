"""Reads and writes the Open Inference Protocol's tensors: JSON, and its binary extension.

A request is N bytes of JSON (N is the header Inference-Header-Content-Length) and then its binary tensors. With N = 0
the body is the one input itself. A BYTES element is a uint32 length and so many bytes; in JSON it is base64.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import to_json

from tencrop.model.contract import Label
from tencrop.server.errors import ApiError, bad_request_error
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.image_answer import Images
from tencrop.server.json_body import parse_json
from tencrop.server.oip.outputs import AskedOutput, read_output, render_output
from tencrop.server.oip.schemas import InferRequest, RequestedOutput, Tensor, TensorMetadata
from tencrop.server.oip.served_model import DYNAMIC, OUTPUT, VERSION, ServedModel
from tencrop.server.oip.tensor_json import cut_data, parse_images, parse_pixels

HEADER_LENGTH = "inference-header-content-length"
MAX_DIMENSION = 2**31
MAX_PARAMETER = 2**63  # the protocol has integers of 64 bits
MICRO = 1e6  # the protocol counts a timeout in microseconds
MAX_JSON = 8 << 20  # bytes, almost all of them in the array `data`


class ParsedRequest(NamedTuple):
    """A request's images, its outputs, and the seconds that it may take; 0 where it does not say."""

    id: str | None
    images: Images
    outputs: list[AskedOutput]
    seconds: float

    @property
    def features(self) -> FeatureChoice | None:
        """The features among the outputs: at most one layer's."""
        return next((output.features for output in self.outputs if output.features), None)


def parse_request(body: bytes, json_length: str | None, model: ServedModel) -> ParsedRequest:
    """Parse a request for a model. `json_length` is the header. Raises ApiError."""
    expected, max_images = model.input, model.pipeline.admission.capacity
    json_bytes = _json_bytes(body, json_length)
    if json_length is not None and not json_bytes:
        images = _images_of_raw_body(body, expected)
        _check_count(len(images), max_images)
        return ParsedRequest(None, images, [AskedOutput(OUTPUT, True)], 0)
    if json_bytes > MAX_JSON:
        why = f"{json_bytes} bytes of JSON; at most {MAX_JSON}: send tensors as binary data"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", why)
    rest, data = cut_data(body[:json_bytes])
    try:
        asked = parse_json(InferRequest, rest)
    except ApiError as error:
        raise bad_request_error(str(error)) from None  # the protocol's status
    tensor = asked.inputs[0]
    _check_input(tensor, expected)
    _check_count(tensor.shape[0], max_images)
    seconds = _read_schedule(asked.parameters)
    binary = asked.parameters.get("binary_data_output", False)
    wanted = asked.outputs or [RequestedOutput(name=OUTPUT)]
    outputs = [read_output(output, binary, model.outputs) for output in wanted]
    name, times = Counter(output.name for output in outputs).most_common(1)[0]
    if times > 1:
        raise bad_request_error(f"output {name!r} is asked for twice")
    if len(layers := [output.name for output in outputs if output.features]) > 1:
        raise bad_request_error(f"{' and '.join(layers)}: ask for the features of one layer in a request")
    return ParsedRequest(asked.id, _images_of(tensor, data, body[json_bytes:], expected), outputs, seconds)


def render_response(
    model: str,
    asked: ParsedRequest,
    values: Mapping[str, np.ndarray],
    labels: Sequence[Label],
    engine: Mapping[str, str],
) -> tuple[bytes, int | None]:
    """float32 [N,...] of each output -> the body, and the length of its JSON where binary data follow the JSON."""
    rendered = [render_output(output, values[output.name], labels) for output in asked.outputs]
    tensors, packed = [tensor for tensor, _ in rendered], b"".join(binary for _, binary in rendered)
    answer = {"model_name": model, "model_version": VERSION, "outputs": tensors, "parameters": engine}
    answer |= {"id": asked.id} if asked.id is not None else {}
    text = to_json(answer)  # takes 3 ms for 64x1000 floats; the json module takes 50
    return (text + packed, len(text)) if any(output.binary for output in asked.outputs) else (text, None)


def _read_schedule(parameters: Mapping[str, Any]) -> float:
    """The seconds of a request's `timeout`, which is in microseconds; 0 is none.

    Raises ApiError 400 for another value, and for a `priority` but 0, the default one: clients take turns.
    """
    for name in ("timeout", "priority"):
        value = parameters.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_PARAMETER:
            raise bad_request_error(f"{name}: not a whole number from 0 to 2^63 - 1")
    if parameters.get("priority"):
        raise bad_request_error(
            f"priority {parameters['priority']}: requests have no priorities here; clients take turns"
        )
    return float(parameters.get("timeout", 0)) / MICRO


def _json_bytes(body: bytes, header: str | None) -> int:
    """The length of the body's JSON. Raises ApiError where the header is not a length within the body."""
    if header is None:
        return len(body)
    length = int(header) if header.isdecimal() and len(header) < 12 else -1
    if not 0 <= length <= len(body):
        raise bad_request_error(f"{HEADER_LENGTH}: {header!r} is not a length within the body")
    return length


def _check_input(tensor: Tensor, expected: TensorMetadata) -> None:
    if (tensor.name, tensor.datatype) != (expected.name, expected.datatype):
        raise bad_request_error(
            f"input {tensor.name!r} of {tensor.datatype}: "
            f"this model has the one input {expected.name!r} of {expected.datatype}"
        )
    shape = tuple(tensor.shape)
    if expected.datatype == "BYTES" and shape[1:] == (1,):  # Triton's form for a batch
        shape = shape[:1]
    if len(shape) != len(expected.shape) or shape[1:] != expected.shape[1:] or not 0 <= shape[0] < MAX_DIMENSION:
        shown = ", ".join("N" if size == DYNAMIC else str(size) for size in expected.shape)
        raise bad_request_error(f"input {tensor.name!r} of shape {tensor.shape}: expected [{shown}]")


def _check_count(images: int, max_images: int) -> None:
    if images > max_images:
        why = f"{images} images; at most {max_images} in a request"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_many_images", why)


def _images_of_raw_body(body: bytes, expected: TensorMetadata) -> Images:
    """The images of a body that is the tensor itself."""
    if expected.datatype == "BYTES":
        return [body]
    return _squares(body, (DYNAMIC, *expected.shape[1:]))


def _images_of(tensor: Tensor, data: bytes | None, binary: bytes, expected: TensorMetadata) -> Images:
    """The images of a tensor, from the array `data` of its JSON or from the binary data behind the JSON."""
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        if binary:
            raise bad_request_error("bytes behind the JSON that no tensor claims")
        return _images_of_json(tensor, data, expected)
    if size != len(binary) or isinstance(size, bool):
        raise bad_request_error(f"binary_data_size {size!r}: {len(binary)} bytes follow the JSON")
    if expected.datatype == "BYTES":
        return _split(binary, tensor.shape[0])
    return _squares(binary, tuple(tensor.shape))


def _images_of_json(tensor: Tensor, data: bytes | None, expected: TensorMetadata) -> Images:
    if data is None or tensor.data is None:
        raise bad_request_error(f"input {tensor.name!r} has neither data nor binary_data_size")
    if expected.datatype == "BYTES":
        try:
            return parse_images(data, tensor.shape)
        except ValueError as error:
            what = "a BYTES element in JSON is a string of base64; send bytes as binary data"
            raise bad_request_error(f"data: {what} ({error})") from None
    try:
        return np.frombuffer(parse_pixels(data, tensor.shape), np.uint8).reshape(tensor.shape)
    except ValueError:
        raise bad_request_error(f"data: expected {math.prod(tensor.shape)} whole numbers from 0 to 255") from None


def _squares(raw: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Raw pixels as uint8 [N,R,R,3]; the first dimension may be DYNAMIC."""
    square_bytes = math.prod(shape[1:])
    count = len(raw) // square_bytes if shape[0] == DYNAMIC else shape[0]
    if len(raw) != count * square_bytes:
        raise bad_request_error(f"{len(raw)} bytes; a tensor of shape {[count, *shape[1:]]} has {count * square_bytes}")
    return np.frombuffer(raw, np.uint8).reshape(count, *shape[1:])


def _split(raw: bytes, count: int) -> list[bytes]:
    """The elements of a BYTES tensor. Raises ApiError 400 where there are not `count` elements."""
    elements: list[bytes] = []
    at = 0
    while at < len(raw) and len(elements) < count:
        start = at + 4
        at = start + int.from_bytes(raw[at:start], "little")
        if start > len(raw) or at > len(raw):
            raise bad_request_error("a BYTES element is cut off")
        elements.append(raw[start:at])
    if len(elements) < count or at < len(raw):
        number = f"{len(elements)}" if at == len(raw) else f"more than {count}"
        raise bad_request_error(f"{number} elements; the shape says {count}")
    return elements
