"""Spans: OpenTelemetry's spans of requests and their parts, sent by OTLP. The variables OTEL_... configure them."""

import threading
import time
from http import HTTPMethod, HTTPStatus
from typing import Any

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from starlette.types import Scope

from tencrop import __version__
from tencrop.server.request_log import UNKNOWN
from tencrop.server.trace_context import TraceContext

NAME = "tencrop"
METHODS = set(HTTPMethod.__members__)
LAST_SECONDS = 2.0  # in which the spans that wait are sent at the end
OTHER = "_OTHER"  # OpenTelemetry's word for any other method


class Spans:
    """The spans of one process. A thread sends them."""

    def __init__(self) -> None:
        own, given = {"service.name": NAME, "service.version": __version__}, OTELResourceDetector().detect().attributes
        self._provider = TracerProvider(resource=Resource.create({**own, **given}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(NAME, __version__)

    def start(self, scope: Scope, parent: TraceContext | None) -> "ServerSpan":
        """Start the span of a request. Parts that its task and the tasks of this one record are its children."""
        method = scope["method"] if scope["method"] in METHODS else OTHER
        attributes = {
            "http.request.method": method,
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
            "client.address": (scope.get("client") or ("",))[0],
        }
        context = _remote_context(parent) if parent else Context()
        return ServerSpan(self._tracer.start_span(method, context, SpanKind.SERVER, attributes), method)

    def record(self, part: str, model: str, started: float, ended: float) -> None:
        """Record a part of the request that runs here. The times are those of `time.perf_counter`."""
        offset = time.time_ns() - time.perf_counter_ns()
        start, end = (round(seconds * 1e9) + offset for seconds in (started, ended))
        self._tracer.start_span(part, attributes={"tencrop.model": model}, start_time=start).end(end)

    def close(self) -> None:
        """Send what waits, for LAST_SECONDS at most. What a collector does not take by then is lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="close spans", daemon=True)
        closing.start()
        closing.join(LAST_SECONDS)


class ServerSpan:
    """The span of one request. `trace` hands it on; None where OpenTelemetry is disabled."""

    def __init__(self, span: Span, method: str) -> None:
        self._span, self._method = span, method
        self._token = contexts.attach(set_span_in_context(span))
        found = span.get_span_context()
        self.trace = _describe(found) if found.is_valid else None

    def end(self, route: str, status: int) -> None:
        """End it with the route that answered, UNKNOWN for none, and the answer's status."""
        contexts.detach(self._token)
        attributes: dict[str, Any] = {"http.response.status_code": status}
        if route != UNKNOWN:
            attributes["http.route"] = route
            self._span.update_name(f"{self._method} {route}")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            attributes["error.type"] = str(status)
            self._span.set_status(StatusCode.ERROR)
        self._span.set_attributes(attributes)
        self._span.end()


def _remote_context(trace: TraceContext) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if trace.is_sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([trace.state])
    span = SpanContext(int(trace.trace_id, 16), int(trace.span_id, 16), True, flags, state)
    return set_span_in_context(NonRecordingSpan(span), Context())


def _describe(span: SpanContext) -> TraceContext:
    trace_id, span_id = format_trace_id(span.trace_id), format_span_id(span.span_id)
    return TraceContext(trace_id, span_id, span.trace_flags.sampled, span.trace_state.to_header())
