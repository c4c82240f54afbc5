"""The load generator: compiles load.c, runs it, and turns its output into the figures of one load."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tencrop.common.errors import BadInput, WorkFailed, one_line

SOURCE = Path(__file__).with_name("load.c")
P99_ANSWERS = 662  # fewest of which at least two are above the true p99 with 99 % confidence; MLPerf's least number
WARM_UP = 1.0  # least seconds; in a closed loop it lasts until each client has had an answer


class Answer(NamedTuple):
    """One request: its status (0: no answer), when it was due, and the seconds from then to the answer."""

    status: int
    due: float
    took: float


@dataclass(frozen=True)
class Load:
    """A closed loop of `number` clients that wait for their answers, or an open loop of `number` requests a second."""

    kind: str  # "clients" or "rate"
    number: float


class Figures(NamedTuple):
    """The figures of one load. Times are in milliseconds, NaN without such an answer; a p99 with too few of them."""

    images_per_s: float
    p50: float
    p99: float
    good: int  # answers whose times p50 and p99 are of
    refused: int  # answered 429
    refused_p99: float
    failed: int  # any other answer, or none
    offered: int
    client_core: float  # the load generator's share of a core
    answered: int  # in all, in the warm-up too
    resident_mib: float = 0.0  # the server's peak


def compile_client(folder: Path) -> Path:
    """Compile load.c into `folder`. Raises BadInput without a C compiler, WorkFailed if it does not compile."""
    program = folder / "load"
    try:
        done = subprocess.run(["cc", "-O2", "-o", str(program), str(SOURCE), "-lm"], capture_output=True, text=True)
    except OSError:
        raise BadInput(
            "the load generator is a C program, and there is no C compiler",
            "install a compiler (apt-get install gcc libc6-dev)",
        ) from None
    if done.returncode:
        raise WorkFailed(f"{SOURCE.name} does not compile: {one_line(done.stderr)}")
    return program


def run_load(program: Path, port: int, load: Load, seconds: float, requests: Sequence[Path]) -> Figures:
    """Put a load on the server for `seconds`. Raises WorkFailed if the load generator fails."""
    arguments = [str(port), str(WARM_UP), str(seconds), load.kind, str(load.number), *map(str, requests)]
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise WorkFailed(one_line(done.stderr))
    answers, answered, core = parse_output(done.stdout)
    return summarize(answers, load, seconds, core, answered)


def parse_output(text: str) -> tuple[list[Answer], int, float]:
    """The lines of load.c: the measured answers, the number of all, and the share of a core that it used."""
    *lines, answered, core = text.splitlines()
    answers = [Answer(int(status), float(due), float(took)) for status, due, took in map(str.split, lines)]
    return answers, int(answered.removeprefix("answered ")), float(core.removeprefix("core "))


def summarize(every: Sequence[Answer], load: Load, seconds: float, core: float, answered: int) -> Figures:
    """The figures of a load. images/s counts the answers that arrived within `seconds`.

    In a closed loop the other figures cover the same answers, in an open loop the requests due within `seconds`.
    """
    arrived = [answer for answer in every if 0 <= answer.due + answer.took < seconds]
    answers = arrived if load.kind == "clients" else [answer for answer in every if 0 <= answer.due < seconds]
    speed = sum(answer.status == HTTPStatus.OK for answer in arrived) / seconds
    good = [answer for answer in answers if answer.status == HTTPStatus.OK]
    refused = [answer for answer in answers if answer.status == HTTPStatus.TOO_MANY_REQUESTS]
    p50, p99 = percentiles(good)
    others = len(answers) - len(good) - len(refused)
    return Figures(
        speed, p50, p99, len(good), len(refused), percentiles(refused)[1], others, len(answers), core, answered
    )


def percentiles(answers: Sequence[Answer]) -> tuple[float, float]:
    """The median and the 99th percentile in milliseconds, both measured values (not interpolated).

    The median of no answers is NaN, and so is the 99th percentile of fewer than P99_ANSWERS.
    """
    if not answers:
        return float("nan"), float("nan")
    p50, p99 = np.percentile([1000 * answer.took for answer in answers], (50, 99), method="higher")
    return float(p50), float(p99) if len(answers) >= P99_ANSWERS else float("nan")
