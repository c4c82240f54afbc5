"""The metrics that Prometheus reads at /metrics: requests, queues, forward passes, seconds, and the engines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tencrop.server.descriptors import EXHAUSTED
from tencrop.server.log_writer import DROPPED

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
VIEWS = (10, 20, 30, 40, 80, 160, 320, 640)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The metrics of one server. Every name begins with tencrop_."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("tencrop_requests", "answers", ["method", "route", "code"], registry=registry)
        self.request_seconds = Histogram(
            "tencrop_request_seconds",
            "from a request's headers to its answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.images = Counter("tencrop_images", "images answered", ["model"], registry=registry)
        self.decode_seconds = Histogram(
            "tencrop_decode_seconds", "decoding an image", ["model"], buckets=SECONDS, registry=registry
        )
        self.queue_seconds = Histogram(
            "tencrop_queue_seconds", "until its forward", ["model"], buckets=SECONDS, registry=registry
        )
        self.engine_seconds = Histogram(
            "tencrop_engine_seconds", "a forward", ["model"], buckets=SECONDS, registry=registry
        )
        self.forward_views = Histogram(
            "tencrop_forward_views", "views in a forward, padding included", ["model"], buckets=VIEWS, registry=registry
        )
        self._queue = Gauge("tencrop_queue_images", "images that wait for an engine", ["model"], registry=registry)
        self._admitted = Gauge(
            "tencrop_admitted_images", "images admitted and not yet answered", ["model"], registry=registry
        )
        registry.register(DROPPED)
        registry.register(EXHAUSTED)
        self._engine = Info("tencrop_engine", "what runs a model", ["model"], registry=registry)

    def watch_queue(self, model: str, waiting: Callable[[], float]) -> None:
        """Call `waiting` whenever the metrics are read."""
        self._queue.labels(model).set_function(waiting)

    def watch_admitted(self, model: str, admitted: Callable[[], float]) -> None:
        """Call `admitted` whenever the metrics are read."""
        self._admitted.labels(model).set_function(admitted)

    def set_engine(self, model: str, engine: dict[str, str]) -> None:
        """Publish a model's engine, device and precision."""
        self._engine.labels(model).info(engine)

    @contextmanager
    def time_forward(self, model: str, views: int) -> Iterator[None]:
        """Time a forward pass of this many views."""
        started = time.perf_counter()
        yield
        self.engine_seconds.labels(model).observe(time.perf_counter() - started)
        self.forward_views.labels(model).observe(views)

    def get_value(self, name: str, model: str) -> float:
        """The value of a model's sample; 0 before the first."""
        return self._registry.get_sample_value(f"tencrop_{name}", {"model": model}) or 0.0

    def render(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)
