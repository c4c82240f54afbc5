"""/metrics after requests of every kind, the request's id, its line in the log, and the documentation's own assets."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tencrop.common.terminal_text import escape_text
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.ensemble import Ensemble
from tencrop.server.app import create_app
from tencrop.server.metrics import Metrics
from tencrop.server.request_log import log
from tencrop.server.settings import Settings


@pytest.fixture
def client(classifier: Classifier) -> Iterator[TestClient]:
    pair = Ensemble("pair", (classifier, classifier))
    with TestClient(create_app([classifier, pair], Settings())) as client:
        yield client


def samples(client: TestClient) -> dict[tuple[str, str], float]:
    """(name, the values of its labels in their order) -> value."""
    text = client.get("/metrics").text
    return {
        (sample.name, " ".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_hold_requests_images_forwards_and_engines(client: TestClient, photographs: dict[str, Path]) -> None:
    china = photographs["china"].read_bytes()
    for _ in range(3):
        assert client.post("/v1/predict", content=china).status_code == 200
    assert client.post("/v1/predict", content=b"nothing").status_code == 415
    assert client.post("/v1/predict?model=pair", content=china).json()["model"] == "pair"
    assert client.get("/nowhere/7").status_code == 404
    found = samples(client)
    assert found["tencrop_requests_total", "200 POST /v1/predict"] == 4
    assert found["tencrop_requests_total", "415 POST /v1/predict"] == 1
    assert found["tencrop_requests_total", "404 unknown unknown"] == 1  # a scanner's paths make no labels
    assert (found["tencrop_images_total", "caltech101"], found["tencrop_images_total", "pair"]) == (3, 1)
    assert found["tencrop_forward_views_sum", "caltech101"] == 30
    for name in ("decode", "queue", "engine"):
        assert found[f"tencrop_{name}_seconds_count", "caltech101"] == 3
    assert found["tencrop_queue_images", "caltech101"] == found["tencrop_admitted_images", "caltech101"] == 0
    assert found["tencrop_engine_info", "cpu openvino caltech101 fp32"] == 1
    assert found["process_resident_memory_bytes", ""] > 1e6


def test_metrics_hold_the_admitted_images(client: TestClient) -> None:
    admission = client.app.state.server_state.pipelines["caltech101"].admission  # type: ignore[attr-defined]
    with admission.admit("one", 5):
        assert samples(client)["tencrop_admitted_images", "caltech101"] == 5


ACCEPTED = {  # header -> whether OpenMetrics answers it
    "": False,
    "*/*": False,
    "text/plain;version=0.0.4": False,
    "application/openmetrics-text": True,
    "Application/OpenMetrics-Text; version=1.0.0; charset=utf-8": True,
    "application/openmetrics-text;version=0.0.1": True,
    "application/openmetrics-text;version=2.0.0": False,
    "application/openmetrics-text;q=0": False,
    "application/openmetrics-text;q=x": False,
    "text/plain, application/openmetrics-text;q=0.5": False,
    "text/plain;q=0.5, application/openmetrics-text;q=0.5": True,
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2": True,  # Prometheus 3
}


def test_openmetrics_answers_those_who_prefer_it(client: TestClient) -> None:
    for accept, is_openmetrics in ACCEPTED.items():
        answer = client.get("/metrics", headers={"Accept": accept})
        kind = "application/openmetrics-text; version=1.0.0; charset=utf-8" if is_openmetrics else CONTENT_TYPE_LATEST
        assert (answer.headers["content-type"], answer.headers["vary"]) == (kind, "Accept"), accept


def test_both_forms_hold_the_same_series_and_none_of_their_creation(
    client: TestClient, photographs: dict[str, Path]
) -> None:
    assert client.post("/v1/predict", content=photographs["china"].read_bytes()).status_code == 200
    client.get("/metrics")  # a series for this route, too
    text = client.get("/metrics").text
    strict = client.get("/metrics", headers={"Accept": "application/openmetrics-text"}).text
    by_text, by_openmetrics = (
        {(sample.name, str(sample.labels)) for family in families for sample in family.samples}
        for families in (text_string_to_metric_families(text), parse_openmetrics(strict))  # type: ignore[no-untyped-call]
    )
    assert by_openmetrics == by_text and ("tencrop_images_total", "{'model': 'caltech101'}") in by_text
    assert "_created" not in text + strict


def test_every_answer_has_an_id(client: TestClient) -> None:
    assert client.get("/readyz", headers={"X-Request-Id": "abc-1.2"}).headers["x-request-id"] == "abc-1.2"
    for bad in ("", "a b", "x" * 65, "<script>"):
        made = client.get("/nowhere", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", made)


def test_an_answer_that_fails_has_its_id_in_the_head_and_in_the_log(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Metrics, "render", broken)
    with pytest.raises(RuntimeError) as raised:
        client.get("/metrics", headers={"X-Request-Id": "seven"})
    assert raised.value.__notes__ == ["request seven"]  # printed below the traceback
    quiet = TestClient(client.app, raise_server_exceptions=False)
    reply = quiet.get("/metrics", headers={"X-Request-Id": "eight"})
    assert (reply.status_code, reply.json()["error"]["code"], reply.headers["x-request-id"]) == (
        500,
        "internal",
        "eight",
    )


def test_a_request_is_a_line_of_json(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", log.name):
        client.post("/v1/predict?top=0", content=b"x", headers={"X-Request-Id": "seven"})
    (record,) = caplog.records
    line = json.loads(record.getMessage())
    assert line.pop("time") and line.pop("ms") >= 0
    assert line == {
        "request": "seven",
        "client": "testclient",
        "key": None,
        "method": "POST",
        "path": "/v1/predict",
        "status": 422,
    }


def test_a_path_cannot_act_on_a_terminal_that_shows_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", log.name):
        client.get("/%1b%5b2J%0a%c2%9b31m%7f%e2%80%ae%ff")
    (record,) = caplog.records
    text = record.getMessage()
    assert escape_text(text) == text
    assert json.loads(text)["path"] == "/\x1b[2J\n\x9b31m\x7f\u202e\ufffd"


def test_the_documentation_loads_nothing_from_other_hosts(client: TestClient) -> None:
    page = client.get("/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) == 3
    for path in assets:
        assert path.startswith("/docs/") and client.get(path).status_code == 200
    assert "http://" not in page and "https://" not in page
    assert client.get("/docs/index.html").status_code == 404
    routes = client.get("/openapi.json").json()["paths"]
    assert {
        "/v1/predict",
        "/v1/predict/batch",
        "/v1/image-classification",
        "/v2/models/{name}/infer",
        "/v1/validations",
    } <= set(routes)
