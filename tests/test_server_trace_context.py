"""The W3C's traceparent and tracestate: which are valid, and what the log and the answer have of them."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.request_log import log
from tencrop.server.settings import Settings
from tencrop.server.trace_context import TraceContext, read_trace_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"
PARENTS = {  # header -> the one that hands it on, of version 00; None where the standard has it ignored
    VALID: VALID,
    f"00-{TRACE}-{SPAN}-00": f"00-{TRACE}-{SPAN}-00",
    f"00-{TRACE}-{SPAN}-ff": VALID,  # the other flags are set to zero
    f" \t{VALID}\t ": VALID,
    f"cc-{TRACE}-{SPAN}-01": VALID,
    f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like": VALID,
    f"cc-{TRACE}-{SPAN}-01.what-the-future-will-not-be-like": None,
    f"00-{TRACE}-{SPAN}-01-": None,
    f"00-{TRACE}-{SPAN}-01-more": None,
    f"ff-{TRACE}-{SPAN}-01": None,
    f"0-{TRACE}-{SPAN}-01": None,
    f".0-{TRACE}-{SPAN}-01": None,
    f"00-{'0' * 32}-{SPAN}-01": None,
    f"00-{TRACE}-{'0' * 16}-01": None,
    f"00-{TRACE.upper()}-{SPAN}-01": None,
    f"00-{TRACE}-{SPAN.upper()}-01": None,
    f"00-{TRACE[:-1]}-{SPAN}-01": None,
    f"00-{TRACE}-{SPAN}0-01": None,
    f"00-{TRACE}-{SPAN}-1": None,
    f"00-{TRACE}-{SPAN}-.0": None,
    f"00-{TRACE}-{SPAN}": None,
    "": None,
}
STATES = {  # values of the header, which may come several times -> what is passed on
    ("foo=1,bar=2",): "foo=1,bar=2",
    ("foo=1", "bar=2"): "foo=1,bar=2",
    ("foo=1 \t , \t bar=2,,", ""): "foo=1,bar=2",
    ("a1_*/-= !+-<>~",): "a1_*/-= !+-<>~",
    ("fw529a3039@dt=FfFf",): "fw529a3039@dt=FfFf",
    ("0x@a=1",): "0x@a=1",
    (f"{'z' * 256}=1",): f"{'z' * 256}=1",
    (f"{'t' * 241}@{'v' * 14}=1",): f"{'t' * 241}@{'v' * 14}=1",
    (",".join(f"k{i}=1" for i in range(32)),): ",".join(f"k{i}=1" for i in range(32)),
    (",".join(f"k{i}=1" for i in range(33)),): "",
    (f"{'z' * 257}=1",): "",
    (f"{'t' * 242}@v=1",): "",
    (f"t@{'v' * 15}=1",): "",
    ("foo=1,FOO=2",): "",
    ("foo =1",): "",
    ("0foo=1",): "",
    ("foo@=1",): "",
    ("@foo=1",): "",
    ("foo@bar@baz=1",): "",
    ("foo=bar=baz",): "",
    ("foo=",): "",
    (f"foo={'v' * 257}",): "",
    ("foo=\xe9",): "",
    ("foo",): "",
}


def read(*parents: str, states: tuple[str, ...] = ()) -> TraceContext | None:
    named = [("traceparent", each) for each in parents] + [("tracestate", each) for each in states]
    return read_trace_context([(name.encode(), value.encode("latin-1")) for name, value in named])


@pytest.mark.parametrize(("given", "handed_on"), PARENTS.items())
def test_a_traceparent_is_taken_over_or_ignored_as_the_standard_says(given: str, handed_on: str | None) -> None:
    trace = read(given)
    assert (trace and trace.headers()) == (handed_on and [(b"traceparent", handed_on.encode())])


def test_several_traceparents_are_none() -> None:
    assert read(VALID, VALID) is None


@pytest.mark.parametrize(("given", "passed_on"), STATES.items(), ids=map(str, range(len(STATES))))
def test_a_tracestate_is_passed_on_where_it_is_valid(given: tuple[str, ...], passed_on: str) -> None:
    trace = read(VALID, states=given)
    assert trace and (trace.state, trace.trace_id) == (passed_on, TRACE)
    assert read(states=given) is None


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> Iterator[TestClient]:
    with TestClient(create_app([classifier], Settings())) as client:
        yield client


def test_log_and_answer_have_the_trace(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    headers = [("traceparent", VALID), ("tracestate", "foo=1"), ("tracestate", "bar=2")]
    with caplog.at_level("INFO", log.name):
        answer = client.get("/nowhere", headers=headers)
    assert (answer.headers["traceparent"], answer.headers["tracestate"]) == (VALID, "foo=1,bar=2")
    line = json.loads(caplog.records[0].getMessage())
    assert (line["trace_id"], line["span_id"], line["trace_flags"]) == (TRACE, SPAN, "01")


@pytest.mark.parametrize("headers", [{}, {"traceparent": VALID.upper(), "tracestate": "foo=1"}], ids=["none", "bad"])
def test_without_a_valid_traceparent_there_is_no_trace(
    client: TestClient, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    with caplog.at_level("INFO", log.name):
        answer = client.get("/healthz", headers=headers)
    assert not {"traceparent", "tracestate"} & set(answer.headers)
    assert "trace" not in caplog.records[0].getMessage()
