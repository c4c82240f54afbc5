"""Unknown parameters and form fields under /v1 are 422 with the nearest known name; other paths take foreign ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.settings import Settings


@pytest.fixture(scope="module")
def client(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("names")
    (folder / "data").mkdir()
    settings = Settings(data_root=folder / "data", state_dir=folder / "state")
    with TestClient(create_app([classifier], settings), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "/v1/predict?topk=1", "unknown parameter 'topk'; the nearest known name is 'top'"),
        ("POST", "/v1/predict?top=1&View=1", "unknown parameter 'View'; the nearest known name is 'views'"),
        ("POST", "/v1/predict?top=1&TOP=", "unknown parameter 'TOP'; the nearest known name is 'top'"),
        ("POST", "/v1/predict/batch?modle=a", "unknown parameter 'modle'; the nearest known name is 'model'"),
        ("POST", "/v1/image-classification?mode=a", "unknown parameter 'mode'; the nearest known name is 'model'"),
        ("POST", "/v1/validations?x=1", "unknown parameter 'x'; none is known here"),
        ("GET", "/v1/validations/1/events?x=1", "unknown parameter 'x'; none is known here"),
        ("DELETE", "/v1/validations/1?cancle=true", "unknown parameter 'cancle'; the nearest known name is 'cancel'"),
        ("POST", "/v1/predict?%1b%e2%80%ae=1", r"unknown parameter '\x1b\u202e'; the nearest known name is "),
        ("POST", "/v1/predict?%ff=1", "unknown parameter "),
    ],
)
def test_an_unknown_parameter_is_named(client: TestClient, method: str, path: str, message: str) -> None:
    reply = client.request(method, path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "bad_parameter")
    assert reply.json()["error"]["message"].startswith(message)


def test_a_long_name_is_cut_in_the_message(client: TestClient) -> None:
    message = client.post(f"/v1/predict?{'x' * 50_000}=1").json()["error"]["message"]
    assert "'xxx" in message and len(message) < 200


@pytest.mark.parametrize(
    ("path", "field", "message"),
    [
        ("/v1/predict", "img", "unknown form field 'img'; the nearest known name is 'image'"),
        ("/v1/predict/batch", "image", "unknown form field 'image'; the nearest known name is 'images'"),
        ("/v1/image-classification", "file", "unknown form field 'file'; the nearest known name is 'image'"),
    ],
)
def test_an_unknown_form_field_is_named(
    client: TestClient, photographs: dict[str, Path], path: str, field: str, message: str
) -> None:
    china, known = photographs["china"].read_bytes(), message.split("'")[3]
    for form in ({"files": {field: b"x"}}, {"files": {known: china}, "data": {field: "5"}}):
        reply = client.post(path, **form)
        assert (reply.status_code, reply.json()["error"]["message"]) == (422, message)


def test_other_paths_take_foreign_parameters(client: TestClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/", "/page/page.js", "/docs", "/v2", "/v2/models/caltech101"):
        assert client.get(f"{path}?utm=1").status_code == 200, path


def test_known_parameters_are_taken(client: TestClient, photographs: dict[str, Path]) -> None:
    china = photographs["china"].read_bytes()
    assert client.post("/v1/predict?top=1&model=caltech101&views=true", content=china).status_code == 200
    assert client.delete("/v1/validations/1?cancel=true").status_code == 404
