"""OpenTelemetry's spans of requests, as a collector receives them by OTLP."""

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from serving import run_server
from support.command_line import call

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

TRACE, CLIENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARTS = ["decode", "queue", "forward"]


class Collector(ThreadingHTTPServer):
    """Keeps every span that it receives, and the names of the services that sent them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[Span] = []
        self.services: set[str] = set()

    def read(self, body: bytes) -> None:
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {each.key: each.value.string_value for each in part.resource.attributes}
            self.services.add(resource["service.name"])
            self.spans += [span for scope in part.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        self.server.read(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, to which this process and its children send spans."""
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        threading.Thread(target=collector.serve_forever).start()
        yield collector
        collector.shutdown()


def attributes(span: Span) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def traceparent(sampled: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{TRACE}-{CLIENT}-{sampled}", "tracestate": "foo=1"}


def test_spans_of_a_request_lie_below_its_client(
    classifier: Classifier, photographs: dict[str, Path], collector: Collector
) -> None:
    with TestClient(create_app([classifier], Settings(otel=True))) as client:
        china = photographs["china"].read_bytes()
        answers = [client.post("/v1/predict", content=china, headers=traceparent(flags)) for flags in ("01", "00")]
        missed = client.get("/nowhere")
        client.app.state.server_state.draining = True  # type: ignore[attr-defined]
        assert client.get("/readyz").status_code == 503
    (server,) = collector.named("POST /v1/predict")
    assert (server.trace_id.hex(), server.parent_span_id.hex(), server.trace_state) == (TRACE, CLIENT, "foo=1")
    assert server.kind == Span.SPAN_KIND_SERVER and collector.services == {"tencrop"}
    known = {"http.request.method": "POST", "http.route": "/v1/predict", "http.response.status_code": 200}
    assert known.items() <= attributes(server).items()
    sampled, unsampled = (answer.headers["traceparent"].split("-") for answer in answers)
    assert sampled == ["00", TRACE, server.span_id.hex(), "01"] and answers[0].headers["tracestate"] == "foo=1"
    assert (unsampled[1], unsampled[3]) == (TRACE, "00") and unsampled[2] not in (CLIENT, sampled[2])
    children = [span for span in collector.spans if span.parent_span_id == server.span_id]
    assert [span.name for span in sorted(children, key=lambda span: span.start_time_unix_nano)] == PARTS
    assert {span.trace_id for span in children} == {server.trace_id}
    assert all(attributes(span) == {"tencrop.model": "caltech101"} for span in children)
    times = [time for part in PARTS for span in collector.named(part) for time in _times(span)]
    start, end = _times(server)
    assert [start - 10**6, *times, end + 10**6] == sorted([start - 10**6, *times, end + 10**6])  # within a ms
    (unknown,) = collector.named("GET")
    assert not unknown.parent_span_id and missed.headers["traceparent"].split("-")[1] == unknown.trace_id.hex()
    assert (attributes(unknown)["http.response.status_code"], unknown.status.code) == (404, Status.STATUS_CODE_UNSET)
    (failed,) = collector.named("GET /readyz")
    assert (attributes(failed)["error.type"], failed.status.code) == ("503", Status.STATUS_CODE_ERROR)


def _times(span: Span) -> tuple[int, int]:
    return span.start_time_unix_nano, span.end_time_unix_nano


def test_an_image_that_cannot_be_decoded_has_the_span_of_its_decoding(
    classifier: Classifier, collector: Collector
) -> None:
    with TestClient(create_app([classifier], Settings(otel=True))) as client:
        assert client.post("/v1/predict", content=b"GIF89a").status_code == 400
    assert {span.name for span in collector.spans} == {"decode", "POST /v1/predict"}


@pytest.mark.slow
def test_workers_send_spans_and_share_both_forms_of_the_metrics(
    null_model: Path, photographs: dict[str, Path], collector: Collector
) -> None:
    with run_server(str(null_model), "--workers", "2", **os.environ, TENCROP_OTEL="true") as (process, url):
        sent = {"traceparent": f"00-{TRACE}-{CLIENT}-01"}
        answer = httpx2.post(f"{url}/v1/predict", content=photographs["china"].read_bytes(), headers=sent)
        metrics = httpx2.get(f"{url}/metrics", headers={"Accept": "application/openmetrics-text"}).text
        process.terminate()
        assert process.wait(30) == 0
    families = {family.name: family for family in parse_openmetrics(metrics)}  # type: ignore[no-untyped-call]
    assert families["tencrop_images"].samples[0].value == 1 and "_created" not in metrics
    (server,) = collector.named("POST /v1/predict")
    assert answer.headers["traceparent"].split("-")[1:3] == [TRACE, server.span_id.hex()]
    assert {span.name for span in collector.spans if span.parent_span_id == server.span_id} == set(PARTS)


@pytest.mark.slow
def test_a_server_whose_collector_is_gone_answers_and_ends(null_model: Path, photographs: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    environment = {**os.environ, "TENCROP_OTEL": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": nobody}
    with run_server(str(null_model), **environment) as (process, url):
        answer = httpx2.post(f"{url}/v1/predict", content=photographs["china"].read_bytes())
        assert answer.status_code == 200 and answer.headers["traceparent"]
        process.terminate()
        assert process.wait(30) == 0
        assert process.stderr and "Traceback" not in process.stderr.read()


def test_without_the_extra_it_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TENCROP_OTEL", "true")
    monkeypatch.setattr("tencrop.common.extras.find_spec", lambda name: None)
    assert call(monkeypatch, "serve") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "not installed: opentelemetry.sdk, opentelemetry.exporter.otlp.proto.http; pip install" in line


REFUSED = {  # a variable of OpenTelemetry, and its line
    "OTEL_EXPORTER_OTLP_PROTOCOL=grpc": "spans are sent by OTLP over HTTP alone; set it to http/protobuf",
    "OTEL_TRACES_EXPORTER=zipkin": "spans are sent by OTLP over HTTP alone; set it to otlp",
    "OTEL_BSP_MAX_QUEUE_SIZE=1": "a variable of OpenTelemetry: max_export_batch_size must be",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=x": "a variable of OpenTelemetry: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be",
}


@pytest.mark.parametrize("variable", REFUSED)
def test_a_value_that_does_not_work_is_one_line(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TENCROP_OTEL", "true")
    monkeypatch.setenv(*variable.split("="))
    assert call(monkeypatch, "serve") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert REFUSED[variable] in line
