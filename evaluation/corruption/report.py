"""report.html of a validation under corruptions: a table of errors, and for each corruption its curve by severity."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tencrop.evaluation.corruption.alexnet import ALEXNET
from tencrop.evaluation.corruption.summary import ConditionErrors, CorruptionSummary
from tencrop.evaluation.page_template import open_template
from tencrop.images.corruptions.table import MADE_FROST, SEVERITIES
from tencrop.model.measured_errors import VIEWS
from tencrop.model.metrics import wilson_interval

HERE = Path(__file__).parent
WIDTH, HEIGHT = 240, 140  # of a curve's plot, in units of its picture
STEP = WIDTH / len(SEVERITIES)


class Point(NamedTuple):
    """An error in a plot: its place across, and down for the error and the ends of its 95 % interval."""

    x: float
    y: float
    low: float
    high: float
    words: str


class Curve(NamedTuple):
    """The top-1 errors under a corruption, severity 0 being the clean images."""

    name: str
    lines: dict[str, list[Point]]  # by the kind of prediction
    alexnet: float | None  # place down of AlexNet's mean error, for a net with the same classes


def corruption_report(result: CorruptionSummary) -> str:
    """Render the page."""
    return open_template(HERE / "report.html.jinja").render(
        result=result,
        clean=result.clean,
        views=VIEWS,
        made_frost=MADE_FROST,
        severities=sorted({each.condition.severity for each in result.errors}),
        curves=[_curve(result, name) for name in result.corruptions],
        width=WIDTH,
        height=HEIGHT,
        step=STEP,
        style=(HERE.parent / "report.css").read_text(encoding="utf-8"),
    )


def _curve(result: CorruptionSummary, name: str) -> Curve:
    errors = result.by_severity(name)
    alexnet = ALEXNET.get(name) if result.is_imagenet else None
    lines = {kind: _line(result, errors, kind) for kind in VIEWS}
    return Curve(name, lines, None if alexnet is None else _down(alexnet))


def _line(result: CorruptionSummary, errors: Sequence[ConditionErrors], kind: str) -> list[Point]:
    clean = getattr(result.clean, kind).top1_error
    found = [(each.condition.severity, getattr(each, kind).top1_error) for each in errors]
    return [_point(severity, error, result.clean.n, kind) for severity, error in [(0, clean), *found]]


def _point(severity: int, error: float, n: int, kind: str) -> Point:
    low, high = wilson_interval(error, n)
    where = f"severity {severity}" if severity else "clean"
    words = f"{where}, {VIEWS[kind]}: {error:.2%} ({low:.2%} to {high:.2%})"
    return Point(STEP * severity, _down(error), _down(low), _down(high), words)


def _down(error: float) -> float:
    return HEIGHT * (1 - error)
