"""Content-Encoding is undone on every route under /v1 and /v2 within the bounds; other encodings are named in a 415."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from serving import run_server

BOUND = 2_000_000
ROUTES = ("/v1/predict", "/v1/predict/batch", "/v1/image-classification", "/v1/validations")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a process with a small bound on bodies."""
    folder = tmp_path_factory.mktemp("encodings")
    (folder / "data" / "photos").mkdir(parents=True)
    options = ("--data-root", str(folder / "data"), "--state-dir", str(folder / "state"))
    with run_server(*options, TENCROP_MAX_BODY_BYTES=str(BOUND)) as (_, url):
        yield url


@pytest.fixture(scope="module")
def china(photographs: dict[str, Path]) -> bytes:
    return photographs["china"].read_bytes()


def post(url: str, body: bytes, encoding: str, kind: str = "application/octet-stream") -> httpx2.Response:
    return httpx2.post(url, content=body, headers={"Content-Encoding": encoding, "Content-Type": kind}, timeout=30)


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)],
)
def test_an_image_is_inflated(server: str, china: bytes, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    plain = httpx2.post(f"{server}/v1/predict", content=china)
    packed = post(f"{server}/v1/predict", compress(china), encoding)
    assert packed.status_code == 200 and packed.json()["top"] == plain.json()["top"], packed.text


def test_forms_and_json_are_inflated(server: str, china: bytes) -> None:
    form = httpx2.Request("POST", server, files={"images": china})
    kind = form.headers["content-type"]
    reply = post(f"{server}/v1/predict/batch", gzip.compress(form.read()), "gzip", kind)
    assert reply.status_code == 200 and reply.json()["results"][0]["input"]["format"] == "JPEG"
    reply = post(f"{server}/v1/image-classification", gzip.compress(b'{"inputs": "eA=="}'), "gzip", "application/json")
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_format")
    reply = post(f"{server}/v1/validations", gzip.compress(b'{"dataset": "none"}'), "gzip", "application/json")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "bad_dataset")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
@pytest.mark.parametrize("route", ROUTES)
def test_an_unknown_encoding_is_named(server: str, route: str, encoding: str) -> None:
    kind = {"/v1/predict/batch": "multipart/form-data; boundary=B", "/v1/validations": "application/json"}
    reply = post(server + route, b"x", encoding, kind.get(route, "image/jpeg"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_encoding")
    assert repr(encoding) in reply.json()["error"]["message"] and reply.headers["accept-encoding"] == "gzip, deflate"


def test_two_headers_are_one_list(server: str) -> None:
    headers = [("Content-Encoding", "identity"), ("Content-Encoding", "br")]
    assert httpx2.post(f"{server}/v1/predict", content=b"x", headers=headers).status_code == 415


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"no gzip", 400),
        (b"", 400),
        (gzip.compress(b"x" * 1000)[:-9], 400),
        (gzip.compress(b"x") + b"more", 400),
        (gzip.compress(b"x") * 2, 400),
        (gzip.compress(bytes(BOUND + 1)), 413),
        (gzip.compress(bytes(BOUND)), 415),  # no image
    ],
    ids=["no gzip", "empty", "cut", "more bytes", "two members", "above the bound", "at the bound"],
)
def test_a_damaged_or_large_body_is_refused(server: str, body: bytes, status: int) -> None:
    assert post(f"{server}/v1/predict", body, "gzip").status_code == status


def test_small_json_keeps_its_bound_once_inflated(server: str) -> None:
    body = gzip.compress(json.dumps({"dataset": "photos", "x": "x" * 70_000}).encode())
    reply = post(f"{server}/v1/validations", body, "gzip", "application/json")
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
