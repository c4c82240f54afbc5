"""A request that never reaches a route is answered with an error object, in turn, and is logged and counted."""

import json
import logging
import re
from collections.abc import Iterator

import pytest
from sockets import HEALTH, Address, post, read_error, serve_in_thread, talk

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.connection import MAX_PIPELINED
from tencrop.server.settings import Settings

MALFORMED = {
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n": "Invalid method encountered",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "",
    b"FETCH / HTTP/1.1\r\nHost: x\r\n\r\n": "Invalid method encountered",
    b"GET / HTTP/7.3\r\nHost: x\r\n\r\n": "Invalid HTTP version",
    b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n": "Invalid header token",
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n": "",
    b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n": "",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n": "Transfer-Encoding",
    b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n": "Content-Length",
    b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nsome": "chunk size",
    b"GET /healthz HTTP/1.1\r\n\r\n": "one Host header",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n": "one Host header",
}


@pytest.fixture(scope="module")
def address(classifier: Classifier) -> Iterator[Address]:
    with serve_in_thread(create_app([classifier], Settings())) as address:
        yield address


def count_refused(address: Address) -> int:
    metrics, _ = talk(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    found = re.search(rb'tencrop_requests_total\{code="400",method="unknown",route="unknown"\} (\d+)', metrics)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("request_bytes", MALFORMED)
def test_a_malformed_request_is_a_400_object(
    address: Address, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    before = count_refused(address)
    with caplog.at_level(logging.INFO):
        received, _ = talk(address, request_bytes)
    status, error = read_error(received)
    assert (status, error["code"]) == (400, "bad_request") and MALFORMED[request_bytes] in error["message"]
    assert b"connection: close" in received and b"x-request-id: " in received
    assert count_refused(address) == before + 1
    (line,) = [json.loads(record.message) for record in caplog.records if record.name == "tencrop.access"]
    assert line["status"] == 400
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_log_names_the_path_of_a_refused_request(address: Address, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tencrop.access"):
        talk(address, b"GET /metrics?a=b HTTP/1.1\r\nbad header\r\n\r\n")
    (record,) = [record for record in caplog.records if record.name == "tencrop.access"]
    line = json.loads(record.message)
    assert (line["method"], line["path"], line["client"]) == ("GET", "/metrics", "127.0.0.1")


def test_under_v2_the_error_is_a_string(address: Address) -> None:
    received, _ = talk(address, b"GET /v2/health/live HTTP/1.1\r\n\r\n")
    assert read_error(received) == (400, "the request must have one Host header")


def test_http_1_0_needs_no_host(address: Address) -> None:
    received, _ = talk(address, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200")


def test_a_refused_request_waits_for_the_requests_before_it(address: Address) -> None:
    received, _ = talk(address, HEALTH * 2 + post("/v1/predict", b"no image")[:-1] + b"e" + b"junk\r\n\r\n" + HEALTH)
    statuses = re.findall(rb"HTTP/1.1 (\d+)", received)
    assert statuses == [b"200", b"200", b"415"]  # the third request asks to close the connection
    received, _ = talk(address, HEALTH * 2 + b"junk\r\n\r\n" + HEALTH)
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"200", b"400"]


def test_requests_that_wait_on_one_connection_are_bounded(address: Address) -> None:
    received, _ = talk(address, HEALTH * (MAX_PIPELINED + 10))
    assert received.count(b"HTTP/1.1 200") == MAX_PIPELINED + 1  # the first does not wait
    assert read_error(received)[0] == 400
