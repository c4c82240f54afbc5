"""The array `data` is cut out of a request's JSON and read as bytes, however it is written."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tencrop.server.errors import ApiError
from tencrop.server.json_body import MAX_SMALL_JSON
from tencrop.server.oip.tensor_json import cut_data, parse_images, parse_pixels

PIXELS = np.random.default_rng(1).integers(0, 256, (2, 100, 120, 3), np.uint8)  # more than a piece as text
IMAGES = [bytes(range(256)) * 400, b"", b"x"]
WRITE: tuple[Callable[[Any], str], ...] = (
    json.dumps,
    lambda document: json.dumps(document, indent=1),
    lambda document: json.dumps(document, separators=(",", ":")),
    lambda document: json.dumps(document).replace("/", "\\/"),
)


@pytest.mark.parametrize("write", WRITE)
@pytest.mark.parametrize("is_flat", [True, False])
@pytest.mark.parametrize("more", [{}, {"parameters": {"a": [1]}}, {"shape": [2, 100, 120, 3]}])
def test_pixels(write: Callable[[Any], str], is_flat: bool, more: dict[str, Any]) -> None:
    data = (PIXELS.ravel() if is_flat else PIXELS).tolist()
    document = {"inputs": [{"name": "data", "data": data, **more}], "id": "]}"}
    rest, text = cut_data(write(document).encode())
    document["inputs"][0]["data"] = []  # type: ignore[index]
    assert json.loads(rest) == document and text is not None
    assert parse_pixels(text, PIXELS.shape) == PIXELS.tobytes()


@pytest.mark.parametrize("write", WRITE)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes, base64.urlsafe_b64encode])
def test_images(write: Callable[[Any], str], encode: Callable[[bytes], bytes]) -> None:
    document = {"inputs": [{"data": [encode(image).decode() for image in IMAGES], "shape": [3]}]}
    rest, text = cut_data(write(document).encode())
    document["inputs"][0]["data"] = []
    assert json.loads(rest) == document and text is not None
    assert parse_images(text, [3]) == IMAGES


def test_nested_images() -> None:
    document = {"inputs": [{"data": [[base64.b64encode(image).decode()] for image in IMAGES], "shape": [3, 1]}]}
    rest, text = cut_data(json.dumps(document).encode())
    document["inputs"][0]["data"] = []
    assert json.loads(rest) == document and text is not None
    assert parse_images(text, [3, 1]) == IMAGES
    with pytest.raises(ValueError, match="not an array of strings"):
        parse_images(text, [3])


def test_no_images_and_no_pixels() -> None:
    assert parse_images(b"[ ]", [0]) == [] and parse_pixels(b"[[ ]]", (0, 2, 2, 3)) == b""
    assert cut_data(b'{"inputs": []}') == (b'{"inputs": []}', None)


@pytest.mark.parametrize(
    "text", [b"[1,2]", b"[1,2,3,4]", b"[1,,2]", b"[1,2,]", b"[1 2,3,4]", b"[1,2,256]", b"[1,2,-1]", b"[1,2,3.0]", b"[]",
             b'[1,2,"3"]', b"[1,2,null]", b"[1,2,[3][4]]", b"[1,2,99999999999999999999]", b"[1,2,03]", b"\xff,1,2"]
)  # fmt: skip
def test_other_pixels_are_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the codec says what is wrong)
        parse_pixels(text, (1, 1, 1, 3))


@pytest.mark.parametrize(
    "text", [b'["aaaa"]', b'["aaaa" "aaaa"]', b'["aaaa","aaaa",]', b'["aaaa",7,"aaaa"]', b'["a","aaaa"]', b"[1,2]",
             b'["aaaa","aaaa"', b'["aaaa","aaaa","aaaa"]', b'["aa\\"aa","aaaa"]']
)  # fmt: skip
def test_other_images_are_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the codec says what is wrong)
        parse_images(text, [2])


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": [' + b"[]," * 30_000 + b"[]]}",
        b'{"inputs": [{"data": [1, 2]}], "a": "' + b"x" * MAX_SMALL_JSON + b'"}',
        b'{"a": "' + b"x" * MAX_SMALL_JSON + b'", "inputs": [{"data": [1, 2]}]}',
        b'{"inputs": [{"data": ["a"], "a": [' + b"{}," * 30_000 + b"{}]}]}",
    ],
)
def test_a_large_rest_is_413(text: bytes) -> None:
    with pytest.raises(ApiError, match="the JSON beside the array `data` exceeds") as raised:
        cut_data(text)
    assert raised.value.status_code == 413
