"""Forms whose bytes would keep the parser, and with it the event loop, for seconds; forms cut at any byte."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.errors import ApiError
from tencrop.server.form import MAX_CONTENT_TYPE, MAX_FIELDS, MAX_SEMICOLONS, read_files
from tencrop.server.settings import Settings

HEAD = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
END = b"\r\n--B--\r\n"
TYPE = "multipart/form-data; boundary=B"
MOST = 1 + MAX_FIELDS + 1  # boundaries of a form with one image, behind the first


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> Iterator[TestClient]:
    with TestClient(create_app([classifier], Settings()), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def form(photographs: dict[str, Path]) -> bytes:
    return HEAD + photographs["china"].read_bytes() + END


def post(client: TestClient, body: bytes, content_type: str = TYPE) -> tuple[int, str]:
    """The status, and the message of an error."""
    reply = client.post("/v1/predict", content=body, headers={"content-type": content_type})
    return reply.status_code, reply.json().get("error", {}).get("message", "")


def read_in_pieces(body: bytes, step: int) -> list[bytes]:
    """Read a form that arrives in pieces of `step` bytes."""
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b""})

    async def receive() -> Any:
        return messages.pop(0)

    state = SimpleNamespace(server_state=SimpleNamespace(settings=Settings()))
    scope = {"type": "http", "headers": [(b"content-type", TYPE.encode())], "app": SimpleNamespace(state=state)}
    return asyncio.run(read_files(Request(scope, receive), "image", 1))


@pytest.mark.parametrize("step", [1, 3, 7, 64, 1000])
def test_a_form_may_arrive_in_pieces_of_any_size(step: int) -> None:
    data = b"\r\n--A\r\n--\r\n-" * 20
    assert read_in_pieces(HEAD + data + END, step) == [data]


@pytest.mark.parametrize("step", [1, 4, 5, 6, 1000])
def test_text_that_looks_like_a_boundary_is_counted(step: int) -> None:
    """The parser goes over it byte by byte: 32 MiB took 20 s."""
    data = b"\r\n--Bx" * (MOST - 1)
    assert read_in_pieces(HEAD + data + END, step) == [data]
    with pytest.raises(ApiError, match=f"more than {MOST} boundaries"):
        read_in_pieces(HEAD + data + b"\r\n--Bx" + END, step)


@pytest.mark.parametrize("space", [b" ", b"\t"], ids=["space", "tab"])
def test_spaces_behind_a_boundary_are_refused(client: TestClient, form: bytes, space: bytes) -> None:
    status, message = post(client, form[: -len(END)] + b"\r\n--B" + space * 1000 + END)
    assert status == 400 and "spaces behind one" in message


def test_a_content_type_is_read_up_to_a_limit(client: TestClient, form: bytes) -> None:
    for size, status in ((MAX_CONTENT_TYPE, 200), (MAX_CONTENT_TYPE + 1, 400)):
        assert (
            post(client, form, "multipart/form-data;".ljust(size - len("boundary=B"), ";") + "boundary=B")[0] == status
        )


@pytest.mark.parametrize("more", [0, 1], ids=["most", "one more"])
def test_a_parts_header_has_a_limited_number_of_parameters(client: TestClient, form: bytes, more: int) -> None:
    """64 parts with 4,000 each took half a second."""
    status, message = post(client, form.replace(b'"a"', b'"a' + b";" * (MAX_SEMICOLONS - 2 + more) + b'"', 1))
    assert (status, "semicolons" in message) == ((400, True) if more else (200, False))


@pytest.mark.parametrize("boundary", ["", '"', "a\\\\b", "é", "x" * 201], ids=["none", "quote", "escape", "e", "long"])
def test_a_boundary_that_no_client_chooses_is_refused(client: TestClient, form: bytes, boundary: str) -> None:
    reply = client.post(
        "/v1/predict", content=form, headers=[(b"content-type", f'multipart/form-data; boundary="{boundary}"'.encode())]
    )
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, "the form's Content-Type names no boundary")


@pytest.mark.parametrize("boundary", ["B", "'()+_,-./:=?", "-" * 24 + "x", "a b;c"])
def test_any_boundary_of_a_client_is_read(client: TestClient, form: bytes, boundary: str) -> None:
    body = form.replace(b"--B", f"--{boundary}".encode())
    assert post(client, body, f'multipart/form-data; boundary="{boundary}"') == (200, "")


@pytest.mark.parametrize("charset", ["iso-8859-1", "undefined", "punycode", "utf-16", '"'])
def test_names_are_utf_8_whatever_the_charset(client: TestClient, form: bytes, charset: str) -> None:
    """Some charsets are decoded slowly, others would read another name."""
    assert post(client, form, f"{TYPE}; charset={charset}") == (200, "")
