"""Charts of a report: what they show, in shares from 0 to 1. The template draws them as SVG."""

from collections.abc import Sequence
from typing import NamedTuple

from tencrop.evaluation.agreement import MOST, AgreementErrors
from tencrop.evaluation.coverage import trace_errors
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.reliability import BINS, Reliability
from tencrop.model.metrics import wilson_interval

SHARES = [(i / 5, f"{i / 5:.0%}") for i in range(6)]  # ticks of an axis


class Bar(NamedTuple):
    """A bar from the bottom, what it says in words, and the 95 % interval of its height."""

    left: float
    width: float
    height: float
    low: float
    high: float
    text: str


class Line(NamedTuple):
    """A named line through points (across, up)."""

    name: str
    points: list[tuple[float, float]]


class Chart(NamedTuple):
    """Bars and lines on two axes; the upward one goes from 0 to 100 %."""

    title: str
    across: str
    up: str
    ticks: list[tuple[float, str]]  # of the axis across
    bars: list[Bar]
    lines: list[Line]


def chart_reliability(words: str, predictions: Predictions) -> Chart:
    """The share of right answers at each probability. The bars of a calibrated net reach the diagonal."""
    answered = predictions.answered
    found = Reliability.from_answers(predictions.probabilities[answered, 0], predictions.right[answered])
    bars = []
    for bin_, (images, _, right) in enumerate(zip(found.images, found.probability, found.right, strict=True)):
        if images:
            stated = f"probability {bin_ / BINS:.0%} to {(bin_ + 1) / BINS:.0%}"
            text = f"{stated}: {right / images:.1%} of {images:,.0f} are right"
            bars.append(_bar(bin_ / BINS, 1 / BINS, int(right), int(images), text))
    diagonal = Line("calibrated", [(0.0, 0.0), (1.0, 1.0)])
    return Chart(f"Reliability, {words}", "probability of the first label", "right", SHARES, bars, [diagonal])


def chart_coverage(ten_crop: Predictions) -> Chart:
    """The error where only the surest answers are kept, by three ways to rank them."""
    kept = ten_crop.answered
    right, probability, agreement = ten_crop.right[kept], ten_crop.probabilities[kept, 0], ten_crop.agreement[kept]
    ways = {"by probability": [probability], "by agreement": [agreement], "by both": [agreement, probability]}
    lines = [Line(name, trace_errors(right, scores)) for name, scores in ways.items()]
    return Chart(
        "Error against coverage", "share of the answers that is kept, the surest first", "wrong", SHARES, [], lines
    )


def chart_agreement(agreement: Sequence[AgreementErrors]) -> Chart:
    """The error by how many views say the answer by themselves."""
    width = 1 / (MOST + 1)
    bars = [
        _bar(
            row.views * width,
            width,
            row.wrong,
            row.images,
            f"{row.views} of {MOST} views: {row.wrong} of {row.images:,} wrong",
        )
        for row in agreement
        if row.images
    ]
    ticks = [((views + 0.5) * width, str(views)) for views in range(MOST + 1)]
    return Chart("Error by agreement", "views that say the answer by themselves", "wrong", ticks, bars, [])


def _bar(left: float, width: float, count: int, of: int, text: str) -> Bar:
    return Bar(left, width, count / of, *wilson_interval(count / of, of), text)
