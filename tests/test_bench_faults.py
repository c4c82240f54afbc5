"""bench/faults: the slope of a soak and its table; on real servers a soak of seconds, and logs that nobody reads."""

import math
import re
from collections import Counter
from pathlib import Path

import pytest

from bench.faults.measure import STDOUTS, measure_unread_log
from bench.faults.soak import Sample, compute_slope, render_table, soak
from bench.faults.soak_clients import CLIENTS


def make_samples(*mib: float) -> list[Sample]:
    """Samples ten minutes apart."""
    return [Sample(600 * index, each, 20, 30) for index, each in enumerate(mib)]


def test_the_slope_is_of_the_last_three_quarters_in_mib_an_hour() -> None:
    assert compute_slope(make_samples(0, 500, 301, 302, 303)) == pytest.approx(-354)  # from minute 10 of 40 on
    assert compute_slope(make_samples(0, 300, 301, 302, 303)) == pytest.approx(6)
    assert compute_slope(make_samples(9, 5, 5, 5, 5)) == pytest.approx(0)
    assert math.isnan(compute_slope(make_samples(300)))


def test_the_table_names_both_ends_and_the_answers() -> None:
    before, after = Sample(0, 300, 20, 30), Sample(2400, 304.5, 21, 32)
    outcomes: Counter[object] = Counter({200: 1234, "left": 5})
    assert render_table(before, make_samples(0, 300, 301, 302, 303), after, outcomes).splitlines() == [
        "| soak of 40.0 minutes | before | after |",
        "| --- | --- | --- |",
        "| answers |  | 1,234 x 200, 5 x left |",
        "| resident memory, idle | 300.0 MiB | 304.5 MiB |",
        "| its slope under load, last three quarters |  | +6.00 MiB/h |",
        "| descriptors, idle | 20 | 21 |",
        "| threads, idle | 30 | 32 |",
    ]


@pytest.mark.slow
def test_a_soak_of_seconds_has_every_client_answered(
    photographs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [path.read_bytes() for path in photographs.values()]
    table = soak(photos, seconds=6, sample_seconds=2, warm_up_seconds=1, idle_seconds=6)
    answers = {outcome: int(times) for times, outcome in re.findall(r"(\d+) x ([\w ]+)", table)}
    assert sum(answers.values()) >= len(CLIENTS)
    assert {"200", "400", "left", "cut off"} <= set(answers) and "500" not in answers
    seen = capsys.readouterr().err
    assert seen.count(" descriptors, ") == 3 and "Traceback" not in seen


@pytest.mark.slow
@pytest.mark.parametrize("is_closed", STDOUTS.values(), ids=STDOUTS)
def test_requests_are_answered_and_lines_dropped_where_nobody_reads_stdout(
    is_closed: bool, photographs: dict[str, Path]
) -> None:
    answers = measure_unread_log(is_closed, [photographs["china"].read_bytes()], seconds=2)[-1]
    found = re.fullmatch(r"\d+ x 404; (\d+) lines of the log dropped", answers)
    assert found and int(found[1]) > 0, answers
