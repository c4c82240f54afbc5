"""Client: load.c compiled here and run; what it saw, as the figures of one load."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tencrop.common.errors import BadInput, WorkFailed, one_line

SOURCE = Path(__file__).with_name("load.c")
WARM_UP = 1.0  # seconds at least; a closed loop's lasts until each client was answered


class Answer(NamedTuple):
    """One request: its status (0: no answer came), when it was due, and the seconds from then to its answer."""

    status: int
    due: float
    took: float


@dataclass(frozen=True)
class Load:
    """What a server is asked: by so many clients, each again when it is answered, or so many requests a second whatever it does."""

    kind: str  # clients, rate
    number: float


class Figures(NamedTuple):
    """Of one load; milliseconds, and NaN where there was no such answer."""

    images_per_s: float
    p50: float
    p99: float
    refused: int  # answered 429
    refused_p99: float
    failed: int  # answered otherwise, or not at all
    offered: int
    client_core: float  # the load generator's share of a core
    resident_mib: float = 0.0  # the server's, at most


def compiled(folder: Path) -> Path:
    """The client. Raises BadInput where there is no C compiler."""
    program = folder / "load"
    try:
        done = subprocess.run(["cc", "-O2", "-o", str(program), str(SOURCE), "-lm"], capture_output=True, text=True)
    except OSError:
        raise BadInput(
            "the load generator is a C program: install a compiler (apt-get install gcc libc6-dev)"
        ) from None
    if done.returncode:
        raise WorkFailed(f"{SOURCE.name} does not compile: {one_line(done.stderr)}")
    return program


def load(program: Path, port: int, asked: Load, seconds: float, requests: Sequence[Path]) -> Figures:
    """Measure for `seconds`. Raises WorkFailed."""
    arguments = [str(port), str(WARM_UP), str(seconds), asked.kind, str(asked.number), *map(str, requests)]
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise WorkFailed(one_line(done.stderr))
    answers, core = parse(done.stdout)
    return figures(answers, asked, seconds, core)


def parse(text: str) -> tuple[list[Answer], float]:
    """Its lines, and its share of a core."""
    *lines, last = text.splitlines()
    answers = [Answer(int(status), float(due), float(took)) for status, due, took in map(str.split, lines)]
    return answers, float(last.removeprefix("core "))


def figures(every: Sequence[Answer], asked: Load, seconds: float, core: float) -> Figures:
    """images/s by the answers that came within `seconds`; the rest by these (clients) or by what fell due within them (rate)."""
    came = [answer for answer in every if 0 <= answer.due + answer.took < seconds]
    answers = came if asked.kind == "clients" else [answer for answer in every if 0 <= answer.due < seconds]
    speed = sum(answer.status == HTTPStatus.OK for answer in came) / seconds
    good = [answer for answer in answers if answer.status == HTTPStatus.OK]
    refused = [answer for answer in answers if answer.status == HTTPStatus.TOO_MANY_REQUESTS]
    p50, p99 = percentiles(good)
    others = len(answers) - len(good) - len(refused)
    return Figures(speed, p50, p99, len(refused), percentiles(refused)[1], others, len(answers), core)


def percentiles(answers: Sequence[Answer]) -> tuple[float, float]:
    """The median and the 99th of a hundred, in milliseconds: times that were measured, none between two of them."""
    if not answers:
        return float("nan"), float("nan")
    p50, p99 = np.percentile([1000 * answer.took for answer in answers], (50, 99), method="higher")
    return float(p50), float(p99)
