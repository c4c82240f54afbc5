"""The Open Inference Protocol's tensors: JSON with the binary extension, read and written (tritonclient is the judge).

A request of N bytes of JSON (header Inference-Header-Content-Length) and then its binary tensors, one behind the other; N = 0: the body
is the one input itself. A BYTES element is a uint32 length and so many bytes; in JSON, which cannot hold bytes, it is base64.
"""

import base64
import binascii
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, Field
from pydantic_core import to_json

from tencrop.model.contract import Label
from tencrop.model.metrics import top_k
from tencrop.server.body_images import parse_json
from tencrop.server.errors import ApiError

HEADER_LENGTH = "inference-header-content-length"
OUTPUT = "probabilities"
VERSION = "1"  # of every model
DYNAMIC = -1
WINDOW = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}  # what zlib calls these encodings
MAX_DIMENSION = 2**31
MAX_JSON = 8 << 20  # bytes; nothing else runs while they are parsed, and the worst of them become 300 MiB


Elements = list[bytes] | np.ndarray  # encoded images, or uint8 [N,R,R,3]


class Tensor(BaseModel):
    """An input as a request has it."""

    name: str
    datatype: str
    shape: list[int] = Field(max_length=8)
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class RequestedOutput(BaseModel):
    """An output that a request names."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """The JSON of a request."""

    id: str | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = Field(default=None, max_length=1)
    parameters: dict[str, Any] = {}


class TensorMetadata(NamedTuple):
    """A model's one input or its output: name, datatype, and shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class ParsedRequest(NamedTuple):
    """What a request asks for, and how to answer."""

    id: str | None
    elements: Elements
    binary: bool
    classes: int  # 0: all probabilities


def decompress(body: bytes, encoding: str, most: int) -> bytes:
    """A body without its Content-Encoding. Raises ApiError where it is damaged, or larger than `most` bytes."""
    if encoding in ("", "identity"):
        return body
    if encoding not in WINDOW:
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            f"content-encoding {encoding!r}: send gzip or deflate",
        )
    try:
        stream = zlib.decompressobj(WINDOW[encoding])
        plain = stream.decompress(body, most + 1)
    except zlib.error:
        raise _bad(f"the body is not {encoding}") from None
    if len(plain) > most:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"the inflated body exceeds {most} bytes")
    if not stream.eof:
        raise _bad(f"the {encoding} body is cut off")
    return plain


def parse_request(body: bytes, length: str | None, wanted: TensorMetadata, most: int) -> ParsedRequest:
    """A request for a model with this input; at most so many images. Raises ApiError."""
    json_bytes = len(body) if length is None else int(length) if length.isdecimal() and len(length) < 12 else -1
    if not 0 <= json_bytes <= len(body):
        raise _bad(f"{HEADER_LENGTH}: {length!r} is not a length within the body")
    if length is not None and not json_bytes:
        elements = _only(body, wanted)
        _few(len(elements), most)
        return ParsedRequest(None, elements, True, 0)
    if json_bytes > MAX_JSON:
        why = f"{json_bytes} bytes of JSON; at most {MAX_JSON}: send tensors as binary data"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", why)
    asked = parse_json(InferRequest, body[:json_bytes])
    tensor, rest = asked.inputs[0], body[json_bytes:]
    if (tensor.name, tensor.datatype) != wanted[:2]:
        raise _bad(
            f"input {tensor.name!r} of {tensor.datatype}: this model has the one input {wanted.name!r} of {wanted.datatype}"
        )
    shape = tuple(tensor.shape)
    if len(shape) != len(wanted.shape) or shape[1:] != wanted.shape[1:] or not 0 <= shape[0] < MAX_DIMENSION:
        raise _bad(f"input {tensor.name!r} of shape {list(shape)}: expected {list(wanted.shape)}")
    _few(shape[0], most)
    output = asked.outputs[0] if asked.outputs else RequestedOutput(name=OUTPUT)
    if output.name != OUTPUT:
        raise _bad(f"output {output.name!r}: this model has the one output {OUTPUT!r}")
    binary = output.parameters.get("binary_data", asked.parameters.get("binary_data_output", False))
    classes = output.parameters.get("classification", 0)
    if not isinstance(classes, int) or classes < 0:
        raise _bad("classification: not a number of classes")
    return ParsedRequest(asked.id, _elements(tensor, rest, wanted), bool(binary), classes)


def render_response(
    model: str, infer: ParsedRequest, probabilities: np.ndarray, labels: Sequence[Label], ran: Mapping[str, str]
) -> tuple[bytes, int | None]:
    """float32 [N,C] -> the answer, and the length of its JSON where binary data follow; `ran` tells what computed it."""
    if infer.classes:
        best = top_k(probabilities, infer.classes)
        words = [
            f"{row[i]:f}:{i}:{labels[i].name}"
            for row, indices in zip(probabilities, best, strict=True)
            for i in indices
        ]
        datatype, shape, values = "BYTES", list(best.shape), words
        packed = b"".join(struct.pack("<I", len(word)) + word for word in (text.encode() for text in words))
    else:
        datatype, shape, values = "FP32", list(probabilities.shape), probabilities.ravel().tolist()
        packed = np.asarray(probabilities, "<f4").tobytes()
    tensor: dict[str, Any] = {"name": OUTPUT, "datatype": datatype, "shape": shape}
    tensor |= {"parameters": {"binary_data_size": len(packed)}} if infer.binary else {"data": values}
    answer = {"model_name": model, "model_version": VERSION, "outputs": [tensor], "parameters": ran}
    text = to_json(
        answer | ({"id": infer.id} if infer.id is not None else {})
    )  # 3 ms of 64x1000 floats; the json module takes 50
    return (text + packed, len(text)) if infer.binary else (text, None)


def compress(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The body in the first of the client's encodings that is known, and its name."""
    names = [name.partition(";")[0].strip().lower() for name in accepted.split(",")]
    encoding = next((name for name in names if name in WINDOW), None)
    if encoding is None:
        return body, None
    return zlib.compress(body, 1, WINDOW[encoding]), encoding


def _few(images: int, most: int) -> None:
    if images > most:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_many_images", f"{images} images; at most {most} in a request"
        )


def _only(body: bytes, wanted: TensorMetadata) -> Elements:
    """The elements of a body that is the tensor itself."""
    if wanted.datatype == "BYTES":
        return [body]
    return _squares(body, (DYNAMIC, *wanted.shape[1:]))


def _elements(tensor: Tensor, rest: bytes, wanted: TensorMetadata) -> Elements:
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        if rest:
            raise _bad("bytes behind the JSON that no tensor claims")
        return _from_json(tensor, wanted)
    if size != len(rest) or isinstance(size, bool):
        raise _bad(f"binary_data_size {size!r}: {len(rest)} bytes follow the JSON")
    elements = _split(rest) if wanted.datatype == "BYTES" else _squares(rest, tuple(tensor.shape))
    return _counted(elements, tensor.shape[0])


def _from_json(tensor: Tensor, wanted: TensorMetadata) -> Elements:
    if tensor.data is None:
        raise _bad(f"input {tensor.name!r} has neither data nor binary_data_size")
    if wanted.datatype == "BYTES":
        try:
            return _counted([base64.b64decode(text, validate=True) for text in tensor.data], tensor.shape[0])
        except (TypeError, ValueError, binascii.Error):
            raise _bad("data: a BYTES element in JSON is a string of base64; send bytes as binary data") from None
    try:
        flat = tensor.data
        while flat and isinstance(flat[0], list):
            flat = list(chain.from_iterable(flat))
        return np.frombuffer(bytes(flat), np.uint8).reshape(tensor.shape)
    except (TypeError, ValueError):  # `bytes` takes whole numbers from 0 to 255 and nothing else
        raise _bad(f"data: expected {math.prod(tensor.shape)} whole numbers from 0 to 255") from None


def _squares(raw: bytes, shape: tuple[int, ...]) -> np.ndarray:
    each = math.prod(shape[1:])
    count = len(raw) // each if shape[0] == DYNAMIC else shape[0]
    if len(raw) != count * each:
        raise _bad(f"{len(raw)} bytes; a tensor of shape {[count, *shape[1:]]} has {count * each}")
    return np.frombuffer(raw, np.uint8).reshape(count, *shape[1:])


def _split(raw: bytes) -> list[bytes]:
    """The elements of a BYTES tensor."""
    found, at = [], 0
    while at < len(raw):
        start = at + 4
        at = start + int.from_bytes(raw[at:start], "little")
        if start > len(raw) or at > len(raw):
            raise _bad("a BYTES element is cut off")
        found.append(raw[start:at])
    return found


def _counted(elements: Elements, count: int) -> Elements:
    if len(elements) != count:
        raise _bad(f"{len(elements)} elements; the shape says {count}")
    return elements


def _bad(message: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "bad_request", message)
