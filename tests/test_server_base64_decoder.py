"""Base64Decoder reads base64 as people have it, in pieces of any size, and refuses every other text."""

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tencrop.server.base64_decoder import MAX_PREFIX, Base64Decoder, decode_base64

WAYS: dict[str, Callable[[bytes], str]] = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "without padding": lambda data: base64.b64encode(data).decode().rstrip("="),
    "the URL's alphabet": lambda data: base64.urlsafe_b64encode(data).decode(),
    "line breaks": lambda data: base64.encodebytes(data).decode(),
    "line breaks of Windows": lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
    "data URL": lambda data: "data:image/jpeg;base64," + base64.b64encode(data).decode(),
    "data URL with a parameter": lambda data: "DATA:image/jpeg;name=a.jpg;BASE64," + base64.b64encode(data).decode(),
}


def decode_in_pieces(text: bytes, size: int) -> bytes:
    decoder = Base64Decoder()
    return b"".join(decoder.feed(text[at : at + size]) for at in range(0, len(text), size)) + decoder.finish()


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(data=st.binary(max_size=200), size=st.integers(1, 100))
def test_every_way_of_writing_is_read_in_pieces_of_any_size(way: str, data: bytes, size: int) -> None:
    text = WAYS[way](data)
    escaped = json.dumps(text)[1:-1]
    everything = "".join(f"\\u{ord(character):04X}" for character in text)
    slashes = escaped.replace("/", "\\/")
    assert decode_base64(text.encode()) == data
    for written in (text, escaped, slashes, everything):
        assert decode_in_pieces(written.encode(), size) == data


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "***",
        "A",
        "AAAAA",
        "AA==AAAA",
        "AAAA====",
        "=AAA",
        "AA=A",
        "\u00fc",
        "\\u00fc",
        "\\x",
        "\\",
        "\x00\x00\x00\x00",
        "data:image/png,AAAA",
        "data:image/png;base64",
        "data:" + "x" * (MAX_PREFIX + 1),
        "data:image/png;base64,data:image/png;base64,AAAA",
    ],
)
def test_any_other_text_is_a_value_error(text: str, size: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the routes say what is wrong)
        decode_in_pieces(text.encode(), size)
