"""The statistics extension of Triton, from the samples of the metrics."""

from collections.abc import Sequence

from prometheus_client.samples import Sample

from tencrop.server.metrics import PARTS
from tencrop.server.oip.schemas import BatchStatistics, Duration, InferStatistics, ModelStatistics

NO_CACHE = Duration(count=0, ns=0)  # every image is computed


def describe_statistics(name: str, version: str, form: str, samples: Sequence[Sample]) -> ModelStatistics:
    """The statistics of a name whose requests have this form, from the samples of its model."""
    values = {
        (sample.name, frozenset((key, value) for key, value in sample.labels.items() if key != "model")): sample.value
        for sample in samples
    }

    def get(metric: str, **labels: str) -> float:
        return values.get((f"tencrop_{metric}", frozenset(labels.items())), 0.0)

    def of_requests(part: str, outcome: str) -> Duration:
        count = int(get("inferences_total", form=form, outcome=outcome))
        return Duration(count=count, ns=int(get("inference_seconds_total", form=form, part=part) * 1e9))

    def of_batches(size: str) -> BatchStatistics:
        count = int(get("batches_total", images=size))
        parts = {
            part: Duration(count=count, ns=int(get("batch_seconds_total", images=size, part=part) * 1e9))
            for part in PARTS
        }
        return BatchStatistics(batch_size=int(size), **parts)

    sizes = sorted({sample.labels["images"] for sample in samples if sample.name == "tencrop_batches_total"}, key=int)
    return ModelStatistics(
        name=name,
        version=version,
        last_inference=int(get("last_inference_time_seconds", form=form) * 1e3),
        inference_count=int(get("inference_images_total", form=form)),
        execution_count=sum(int(get("batches_total", images=size)) for size in sizes),
        inference_stats=InferStatistics(
            success=of_requests("success", "success"),
            fail=of_requests("fail", "fail"),
            queue=of_requests("queue", "success"),
            compute_input=of_requests("compute_input", "success"),
            compute_infer=of_requests("compute_infer", "success"),
            compute_output=of_requests("compute_output", "success"),
            cache_hit=NO_CACHE,
            cache_miss=NO_CACHE,
        ),
        batch_stats=[of_batches(size) for size in sizes],
    )
