"""HubJson takes the image out of a body while it arrives, and parses a small rest alone."""

import base64
import json
from typing import Any

import pytest

from tencrop.server.errors import ApiError
from tencrop.server.hub_json import HubJson, base64_json_bytes
from tencrop.server.json_body import MAX_SMALL_JSON

IMAGE = bytes(range(256)) * 400  # 100 kB
TEXT = base64.b64encode(IMAGE).decode()


def read(body: bytes, size: int = 1 << 16, max_image_bytes: int = 1 << 20) -> tuple[bytes, int | None]:
    """A body in pieces -> the image and the number of labels."""
    hub_json = HubJson(max_image_bytes)
    for at in range(0, len(body), size):
        hub_json.feed(body[at : at + size])
    image, parameters = hub_json.finish()
    return image, parameters.top_k


@pytest.mark.parametrize("size", [1, 7, 1 << 16, 1 << 20])
@pytest.mark.parametrize(
    "document",
    [
        {"inputs": TEXT[:400], "parameters": {"top_k": 3}},
        {"parameters": {"top_k": 3}, "inputs": TEXT[:400]},
        {"options": {'"inputs": "': ['"inputs": "', "\\"]}, "parameters": {"top_k": 3}, "inputs": TEXT[:400]},
    ],
)
def test_the_order_of_the_keys_and_the_size_of_the_pieces_do_not_matter(document: dict[str, Any], size: int) -> None:
    for body in (json.dumps(document), json.dumps(document, indent=1), json.dumps(document, separators=(",", ":"))):
        assert read(body.encode(), size) == (IMAGE[:300], 3)


def test_a_long_string_is_decoded_whole() -> None:
    assert read(json.dumps({"inputs": TEXT}).encode()) == (IMAGE, None)
    assert read(b'{"inputs": "%s' % base64.encodebytes(IMAGE) + b'"}') == (IMAGE, None)


def test_a_key_with_escapes_is_read_too() -> None:
    assert read(rb'{"\u0069nputs": "eHl6"}') == (b"xyz", None)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"[", b"[],"),
        (b'{"a": 0', b',"b": 0'),
        (b'{"a": "', b"x"),
        (b"", b" "),
        (b'{"inputs": "eHl6"', b',"b": 0'),
        (b'{"inputs": "eHl6", "a": "', b"x"),
    ],
)
def test_a_large_rest_is_refused_at_its_first_piece_too_many(start: bytes, more: bytes) -> None:
    hub_json, fits = HubJson(1 << 20), (MAX_SMALL_JSON - len(start)) // len(more)
    hub_json.feed(start)
    hub_json.feed(more * fits)
    with pytest.raises(ApiError, match="the JSON beside the string `inputs`") as raised:
        hub_json.feed(more * 4)
    assert raised.value.status_code == 413


def test_an_image_above_the_bound_is_refused_before_its_end() -> None:
    hub_json = HubJson(1000)
    with pytest.raises(ApiError, match="the image exceeds 1000 bytes") as raised:
        hub_json.feed(b'{"inputs": "' + TEXT[:2000].encode())
    assert raised.value.status_code == 413


def test_a_wrong_character_is_refused_before_the_end() -> None:
    hub_json = HubJson(1 << 20)
    hub_json.feed(b'{"inputs": "AAAA')
    with pytest.raises(ApiError, match="base64") as raised:
        hub_json.feed(b"[[[[" * 10)
    assert raised.value.status_code == 422


@pytest.mark.parametrize(
    "body", [b'{"inputs": "AAAA', b'{"inputs": "AAAA"', b'["inputs": "AAAA"]', b'{"a": {"inputs": "AAAA"}}']
)
def test_the_rest_must_be_an_object_that_holds_the_string(body: bytes) -> None:
    with pytest.raises(ApiError) as raised:
        read(body)
    assert raised.value.status_code == 422


def test_the_bound_of_a_body_lets_the_largest_image_through_in_lines() -> None:
    lines = base64.encodebytes(IMAGE).decode().replace("\n", "\r\n")
    body = json.dumps({"inputs": lines, "parameters": {"top_k": 5}}).encode()
    assert len(body) <= base64_json_bytes(len(IMAGE)) < len(body) + MAX_SMALL_JSON
    assert read(body, max_image_bytes=len(IMAGE)) == (IMAGE, 5)
