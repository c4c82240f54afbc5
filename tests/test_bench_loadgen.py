"""bench/loadgen: workers answer each query with its image's class, logs are read, and loads follow the rate."""

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from bench.loadgen.__main__ import FIGURES, MARGIN, SECOND, choose_loads, parse_row, render_row
from bench.loadgen.harness import OFFLINE, SERVER, SINGLE_STREAM, read_classes, read_details
from bench.loadgen.systems import SYSTEMS
from bench.loadgen.workers import NO_CLASS, Workers
from tencrop.common.errors import WorkFailed

DETAILS = """\
:::MLLOG {"key": "result_validity", "value": "VALID", "time_ms": 1.0}
words of another library
:::MLLOG {"key": "result_query_count", "value": 662, "time_ms": 1.0}
"""
CLASSES = (
    '[\n{ "seq_id" : 0, "qsl_idx" : 2, "data" : "1B000000" },\n{ "seq_id" : 1, "qsl_idx" : 0, "data" : "FFFFFFFF" }]'
)


@dataclass
class Query:
    """A query as LoadGen makes it."""

    id: int
    index: int


@pytest.mark.parametrize(("threads", "most"), [(1, 4), (8, 1)])
def test_workers_answer_each_query_with_the_class_of_its_image(threads: int, most: int) -> None:
    sizes, answers, all_answered = [], {}, Event()

    def answer(numbers: Sequence[int]) -> list[int]:
        sizes.append(len(numbers))
        return [10 * number for number in numbers]

    def complete(query: int, index: int) -> None:
        answers[query] = index
        if len(answers) == 20:
            all_answered.set()

    with closing(Workers(answer, threads, most)) as workers:
        workers.issue([Query(100 + number, number) for number in range(20)], complete)
        assert all_answered.wait(10)
        workers.check()
    assert answers == {100 + number: 10 * number for number in range(20)}
    assert max(sizes) <= most and sum(sizes) == 20


def test_a_failed_answer_is_completed_and_told() -> None:
    answered: list[int] = []
    done = Event()

    def complete(query: int, index: int) -> None:
        answered.append(index)
        done.set()

    with closing(Workers(lambda numbers: [1 // 0], 1, 1)) as workers:
        workers.issue([Query(0, 0)], complete)
        assert done.wait(10)
        with pytest.raises(WorkFailed, match="1 answers failed, the first because integer division"):
            workers.check()
    workers.issue([Query(1, 1)], complete)  # by a test that was stopped
    assert answered == [NO_CLASS]


def test_the_logs_are_read(tmp_path: Path) -> None:
    (tmp_path / "mlperf_log_detail.txt").write_text(DETAILS)
    (tmp_path / "mlperf_log_accuracy.json").write_text(CLASSES)
    assert read_details(tmp_path) == {"result_validity": "VALID", "result_query_count": 662}
    assert read_classes(tmp_path) == {2: 27, 0: -1}


def test_loads_follow_the_rate_in_accuracy_mode() -> None:
    loads = choose_loads(rate=50, share=0.8, bound=0.5, least=20)
    assert loads[SERVER] == {"server_target_qps": 40, "server_target_latency_ns": 500_000_000}
    assert loads[OFFLINE] == {"offline_expected_qps": pytest.approx(50 * MARGIN)}
    assert choose_loads(rate=10, share=0.8, bound=0.5, least=20)[OFFLINE] == {"offline_expected_qps": 20}


@pytest.mark.parametrize(("scenario", "times"), [(SINGLE_STREAM, "25 | 30"), (SERVER, "25 | 30"), (OFFLINE, " | ")])
def test_a_line_of_the_table_is_in_milliseconds(scenario: str, times: str) -> None:
    values = dict(zip(FIGURES[scenario], (39.96, 0.025 * SECOND, 0.03 * SECOND), strict=False))
    counts = {"result_validity": "VALID", "result_query_count": 300, "generated_samples_per_query": 2}
    assert render_row("ours", scenario, {**values, **counts}) == f"| ours | {scenario} | VALID | 40.0 | {times} | 600 |"


def test_a_row_is_a_name_and_a_share() -> None:
    assert parse_row("litserve=0.5") == ("litserve", 0.5)
    with pytest.raises(argparse.ArgumentTypeError, match=f"other: expected {', '.join(SYSTEMS)}"):
        parse_row("other=0.5")
