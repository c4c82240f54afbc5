"""report.html: a validation in one file that opens anywhere.

The page shows errors, how far the probabilities can be believed, classes, confusions, and cards of images. Its template
is report.html.jinja; report.css and report.js are copied into the page.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from tencrop.dataset.source import Entry, Source
from tencrop.evaluation.charts import Chart, chart_agreement, chart_coverage, chart_reliability
from tencrop.evaluation.image_cards import ImageCard, make_card
from tencrop.evaluation.page_template import open_template
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.reliability import BINS
from tencrop.evaluation.run_timing import RunTiming
from tencrop.evaluation.summary import Summary
from tencrop.evaluation.suspects import find_suspects
from tencrop.model.contract import Label
from tencrop.model.measured_errors import VIEWS, ErrorRates
from tencrop.model.metrics import wilson_interval
from tencrop.model.published_errors import PublishedError

PANEL = 8  # images shown as examples, as many as in figure 4 of the paper
MISTAKES = 12  # images shown of the surest mistakes
SUSPECTS = 8  # images shown of those that look mislabelled
PAIRS = 15  # pairs of classes in the table of confusions
LISTED = 100  # images in each list of images without a prediction
HERE = Path(__file__).parent


def html_report(
    summary: Summary,
    timing: RunTiming,
    table: pa.Table,
    labels: Sequence[Label],
    data: Source,
    entries: Sequence[Entry],
) -> str:
    """Render the page. `table` is as in prediction_records.SCHEMA and has a row for each of `entries`.

    The images that are shown are read from `data` once more.
    """
    predictions, names = Predictions.from_table(table), _distinct_names(labels)
    script = (HERE / "report.js").read_text(encoding="utf-8")

    def cards(rows: Iterable[int]) -> list[ImageCard]:
        return [make_card(row, predictions, names, data, entries[row]) for row in rows]

    return open_template(HERE / "report.html.jinja").render(
        summary=summary,
        timing=timing,
        date=f"{datetime.fromtimestamp(timing.started, UTC):%Y-%m-%d %H:%M}",
        errors=[_error_row(summary, kind) for kind in VIEWS],
        scores=[(words, getattr(summary.scores, kind, None)) for kind, words in VIEWS.items()],
        bins=BINS,
        charts=_list_charts(table, predictions, summary),
        examples=cards(predictions.sample_evenly(PANEL)),
        mistakes=cards(predictions.find_surest_mistakes(MISTAKES)),
        suspects=[
            make_card(row, predictions, names, data, entries[row], names[looks_like])
            for row, looks_like in find_suspects(predictions, SUSPECTS)
        ],
        confusions=_confusions(predictions, names),
        classes=[(labels[row.label], row) for row in predictions.rank_classes()],
        undecodable=_list_images(table, "undecodable"),
        no_answer=_list_images(table, "no_answer"),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _list_charts(table: pa.Table, ten_crop: Predictions, summary: Summary) -> list[Chart]:
    """The charts of the answers; none where no image has one."""
    if not ten_crop.answered.any():
        return []
    by_kind = {"center": Predictions.from_table(table, "center"), "ten_crop": ten_crop}
    reliability = [chart_reliability(VIEWS[kind], predictions) for kind, predictions in by_kind.items()]
    return [*reliability, chart_coverage(ten_crop), chart_agreement(summary.agreement)]


def _distinct_names(labels: Sequence[Label]) -> list[str]:
    """The words of each class, with its id where several classes have the same words (ImageNet has two cranes)."""
    times = Counter(label.name for label in labels)
    return [label.name if times[label.name] == 1 else f"{label.name} ({label.id})" for label in labels]


class Measured(NamedTuple):
    """An error and its 95 % interval, as fractions."""

    error: float
    low: float
    high: float


class ErrorRow(NamedTuple):
    """The errors by one kind of prediction, and those of 2012 by the same kind."""

    views: str  # in words
    top1: Measured
    top5: Measured
    means: tuple[Measured, Measured] | None  # the errors' means over the classes, top-1 and top-5
    published: list[PublishedError]


def _error_row(summary: Summary, kind: str) -> ErrorRow:
    rates: ErrorRates = getattr(summary, kind)
    top1, top5 = (Measured(error, *wilson_interval(error, summary.n)) for error in (rates.top1_error, rates.top5_error))
    published = [error for error in summary.published if error.views == kind]
    return ErrorRow(VIEWS[kind], top1, top5, _measured_means(summary, kind), published)


def _measured_means(summary: Summary, kind: str) -> tuple[Measured, Measured] | None:
    if not summary.mean_over_classes or not summary.intervals:
        return None
    means, ends = getattr(summary.mean_over_classes, kind), getattr(summary.intervals.mean_over_classes, kind)
    return Measured(means.top1_error, *ends.top1_error), Measured(means.top5_error, *ends.top5_error)


class ConfusedPair(NamedTuple):
    """Classes by their names, how many images of one were taken for the other, and how many images it has."""

    true: str
    taken: str
    images: int
    of: int


def _confusions(predictions: Predictions, names: Sequence[str]) -> list[ConfusedPair]:
    images = {row.label: row.images for row in predictions.rank_classes()}
    return [
        ConfusedPair(names[pair.label], names[pair.taken], pair.images, images[pair.label])
        for pair in predictions.rank_confusions(PAIRS)
    ]


@dataclass(frozen=True)
class ImageList:
    """The number of some images, and of the first LISTED of them the id and the message, which may be empty."""

    count: int
    shown: list[tuple[str, str]]


def _list_images(table: pa.Table, column: str) -> ImageList:
    """The images for which a column of booleans is true."""
    rows = table.select(["id", "message"]).filter(table[column])
    return ImageList(len(rows), [(row["id"], row["message"]) for row in rows[:LISTED].to_pylist()])
