"""ProcessSum: the process_ metrics of Prometheus, over all processes of a server."""

from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CPU = "process_cpu_seconds"  # contains that of ended processes, for a counter must not fall
LEAST = ("process_start_time_seconds", "process_max_fds")  # not sums, but the least of all


class ProcessSum(Collector):
    """Sums over the processes `pids`. Resident memory counts shared pages in each process."""

    def __init__(self, pids: Callable[[], Iterable[int]], ended_cpu_seconds: Callable[[], float]) -> None:
        self._pids, self._ended_cpu_seconds = pids, ended_cpu_seconds

    def collect(self) -> Iterable[Metric]:
        values: dict[str, list[float]] = {CPU: [self._ended_cpu_seconds()]}
        words: dict[str, str] = {}
        for pid in self._pids():
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():  # none where it has ended
                values.setdefault(metric.name, []).append(metric.samples[0].value)
                words[metric.name] = metric.documentation
        for name, text in words.items():
            family = CounterMetricFamily if name == CPU else GaugeMetricFamily
            yield family(name, text, value=min(values[name]) if name in LEAST else sum(values[name]))
