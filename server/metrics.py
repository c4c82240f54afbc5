"""The metrics that Prometheus reads at /metrics: requests, queues, forward passes, seconds, and the engines."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from tencrop.server.descriptors import WATCH
from tencrop.server.log_writer import DROPPED

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
VIEWS = (10, 20, 30, 40, 80, 160, 320, 640)
PARTS = ("compute_input", "compute_infer", "compute_output")  # of a forward pass, as Triton names them
SHADOW = {
    "compared": "answers that a shadow was asked for, too",
    "dropped": "answers that were not compared, for lack of time or of an answer",
    "disagreements": "compared answers with another first label",
}


class Metrics:
    """The metrics of one server. Every name begins with tencrop_."""

    def __init__(self, processes: Collector | None = None) -> None:
        """`processes` describes all of the server, where several of them share their metrics."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # _created, a series more for each other one
        registry = CollectorRegistry()
        self.requests = Counter("tencrop_requests", "answers", ["method", "route", "code"], registry=registry)
        self.request_seconds = Histogram(
            "tencrop_request_seconds",
            "from a request's headers to its answer",
            ["method", "route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._images = Counter("tencrop_images", "images answered", ["model"], registry=registry)
        self._decode_seconds = Histogram(
            "tencrop_decode_seconds", "decoding an image", ["model"], buckets=SECONDS, registry=registry
        )
        self._queue_seconds = Histogram(
            "tencrop_queue_seconds", "until its forward", ["model"], buckets=SECONDS, registry=registry
        )
        self._engine_seconds = Histogram(
            "tencrop_engine_seconds", "a forward", ["model"], buckets=SECONDS, registry=registry
        )
        self._forward_views = Histogram(
            "tencrop_forward_views", "views in a forward, padding included", ["model"], buckets=VIEWS, registry=registry
        )
        self.inferences = Counter(
            "tencrop_inferences", "requests that reached a model", ["model", "form", "outcome"], registry=registry
        )
        self.inference_images = Counter(
            "tencrop_inference_images", "images answered", ["model", "form"], registry=registry
        )
        self.inference_seconds = Counter(
            "tencrop_inference_seconds", "seconds of requests", ["model", "form", "part"], registry=registry
        )
        self.last_inference = Gauge(
            "tencrop_last_inference_time_seconds",
            "when the newest request came",
            ["model", "form"],
            multiprocess_mode="max",
            registry=registry,
        )
        self.batches = Counter("tencrop_batches", "forward passes", ["model", "images"], registry=registry)
        self.batch_seconds = Counter(
            "tencrop_batch_seconds", "seconds of forward passes", ["model", "images", "part"], registry=registry
        )
        self._shadow = {
            name: Counter(f"tencrop_shadow_{name}", words, ["model", "shadow"], registry=registry)
            for name, words in SHADOW.items()
        }
        registry.register(DROPPED)
        registry.register(WATCH.exhausted)
        self._of: Callable[[Any, str], Any] = cache(lambda metric, model: metric.labels(model))  # `labels` is slow
        self._watched = _Watched()
        if processes:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        registry.register(processes or ProcessCollector(registry=None))
        registry.register(self._watched)
        self._registry = registry

    def watch(
        self, count_waiting: Callable[[], Mapping[str, int]], count_admitted: Callable[[], Mapping[str, int]]
    ) -> None:
        """Call these for the images of each model whenever the metrics are read."""
        self._watched.counts = {
            "queue": (count_waiting, "images that wait for an engine"),
            "admitted": (count_admitted, "images admitted and not yet answered"),
        }

    def set_engine(self, model: str, engine: dict[str, str]) -> None:
        """Publish a model's engine, device and precision."""
        self._watched.engines[model] = engine

    def remove_engine(self, model: str) -> None:
        """Publish the engine of a model no longer. What was counted stays."""
        del self._watched.engines[model]

    def open_shadow(self, model: str, shadow: str) -> Mapping[str, Counter]:
        """The counters of a model's shadow by the names of SHADOW. They begin at zero."""
        return {name: counter.labels(model, shadow) for name, counter in self._shadow.items()}

    def observe_decoding(self, model: str, seconds: float) -> None:
        """Count a decoded image."""
        self._of(self._decode_seconds, model).observe(seconds)

    def count_images(self, model: str, queue_seconds: Sequence[float]) -> None:
        """Count the images of a forward pass, which waited so long for it."""
        self._of(self._images, model).inc(len(queue_seconds))
        waits = self._of(self._queue_seconds, model)
        for seconds in queue_seconds:
            waits.observe(seconds)

    @contextmanager
    def time_forward(self, model: str, views: int) -> Iterator[None]:
        """Time a forward pass of this many views."""
        started = time.perf_counter()
        yield
        self._of(self._engine_seconds, model).observe(time.perf_counter() - started)
        self._of(self._forward_views, model).observe(views)

    def count_batch(self, model: str, images: int, seconds: Sequence[float]) -> None:
        """Count a forward pass, and the seconds of its PARTS."""
        self.batches.labels(model, images).inc()
        for part, took in zip(PARTS, seconds, strict=True):
            self.batch_seconds.labels(model, images, part).inc(took)

    def count_inference(self, model: str, form: str, outcome: str, images: int, seconds: Mapping[str, float]) -> None:
        """Count a request of some answered images, and its seconds: in all, by its outcome, and of its parts."""
        self.inferences.labels(model, form, outcome).inc()
        self.inference_images.labels(model, form).inc(images)
        self.last_inference.labels(model, form).set(time.time() - seconds[outcome])
        for part, took in seconds.items():
            self.inference_seconds.labels(model, form, part).inc(took)

    def get_value(self, name: str, model: str) -> float:
        """The value of a model's sample; 0 before the first."""
        return self._registry.get_sample_value(f"tencrop_{name}", {"model": model}) or 0.0

    def list_samples(self, model: str) -> list[Sample]:
        """All samples of a model."""
        families = self._registry.collect()
        return [sample for family in families for sample in family.samples if sample.labels.get("model") == model]

    def render(self, is_openmetrics: bool = False) -> tuple[bytes, str]:
        """All metrics in the text format of Prometheus or in OpenMetrics, and the content type."""
        if is_openmetrics:
            text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Watched(Collector):
    """The numbers that are looked up whenever the metrics are read."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[Callable[[], Mapping[str, int]], str]] = {}
        self.engines: dict[str, dict[str, str]] = {}

    def collect(self) -> Iterable[Metric]:
        for name, (count, words) in self.counts.items():
            gauge = GaugeMetricFamily(f"tencrop_{name}_images", words, labels=["model"])
            for model, images in count().items():
                gauge.add_metric([model], images)
            yield gauge
        info = InfoMetricFamily("tencrop_engine", "what runs a model", labels=["model"])
        for model, engine in self.engines.items():
            info.add_metric([model], engine)
        yield info
