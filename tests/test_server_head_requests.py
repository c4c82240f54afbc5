"""HEAD answers wherever GET does, with the headers of GET and no body."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from sockets import serve_in_thread, talk

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.head_requests import HeadRequests
from tencrop.server.settings import Settings

HIDDEN = ("/", "/page/page.js", "/page/kernels.png", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/metrics")
OWN = {"x-request-id", "content-length"}  # headers that may differ from answer to answer: /metrics grows


@pytest.fixture(scope="module")
def client(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("head")
    (folder / "data").mkdir()
    settings = Settings(data_root=folder / "data", state_dir=folder / "state")
    with TestClient(create_app([classifier], settings)) as client:
        yield client


def test_head_is_get_without_a_body(client: TestClient) -> None:
    documented = [path for path, methods in client.get("/openapi.json").json()["paths"].items() if "get" in methods]
    assert len(documented) > 10
    for path in (*HIDDEN, *documented):
        url = path.replace("{name}", "caltech101")
        head, get = client.head(url), client.get(url)
        assert (head.status_code, head.content) == (get.status_code, b""), url
        assert {k: v for k, v in head.headers.items() if k not in OWN} == {
            k: v for k, v in get.headers.items() if k not in OWN
        }, url


def test_head_counts_as_its_own_method(client: TestClient) -> None:
    client.head("/healthz")
    assert 'tencrop_requests_total{code="200",method="HEAD",route="/healthz"}' in client.get("/metrics").text


def test_head_of_a_path_without_get_is_405(client: TestClient) -> None:
    reply = client.head("/v1/predict")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


def test_head_of_an_endless_stream_ends() -> None:
    app, ended = FastAPI(), []
    app.add_middleware(HeadRequests)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def endless() -> AsyncIterator[str]:
            try:
                while True:
                    yield "more"
                    await asyncio.sleep(0.01)
            finally:
                ended.append(True)

        return StreamingResponse(endless())

    with serve_in_thread(app) as address:
        received, _ = talk(address, b"HEAD /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200") and received.endswith(b"\r\n\r\n") and ended == [True]


def test_the_page_is_found_by_head(client: TestClient) -> None:
    assert int(client.head("/").headers["content-length"]) == len(client.get("/").content) > 1000
