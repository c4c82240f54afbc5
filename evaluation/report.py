"""report.html: a validation in one file that opens anywhere.

The page shows errors, classes, confusions, and images with their five most probable labels as bars, as in figure 4 of
the paper. Its template is report.html.jinja; report.css and report.js are copied into the page.
"""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from PIL import Image

from tencrop.dataset.source import Entry, Source
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.run_timing import RunTiming
from tencrop.evaluation.summary import Summary
from tencrop.images.decode import decode
from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract, Label
from tencrop.model.measured_errors import VIEWS, ErrorRates
from tencrop.model.metrics import wilson_interval
from tencrop.model.published_errors import PublishedError

if TYPE_CHECKING:
    import jinja2

PANEL = 8  # images shown as examples, as many as in figure 4 of the paper
MISTAKES = 12  # images shown of the surest mistakes
PAIRS = 15  # pairs of classes in the table of confusions
LISTED = 100  # images in each list of images without a prediction
THUMBNAIL = Contract(resize=224, crop=224)  # pixels; the square that the net sees, smaller
QUALITY = 80  # of the thumbnails as JPEG; about 12 kB per photograph
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

    def figures(rows: Iterable[int]) -> list[Figure]:
        return [_figure(row, predictions, names, data, entries[row]) for row in rows]

    return _template().render(
        summary=summary,
        timing=timing,
        date=f"{datetime.fromtimestamp(timing.started, UTC):%Y-%m-%d %H:%M}",
        errors=[_error_row(summary, kind) for kind in VIEWS],
        examples=figures(predictions.sample_evenly(PANEL)),
        mistakes=figures(predictions.find_surest_mistakes(MISTAKES)),
        confusions=_confusions(predictions, names),
        classes=[(labels[row.label], row) for row in predictions.rank_classes()],
        undecodable=_list_images(table, "undecodable"),
        no_answer=_list_images(table, "no_answer"),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@cache
def _template() -> "jinja2.Template":
    import jinja2  # takes 0.1 s, which a server shall not spend when it starts

    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("report.html.jinja")


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
    mean_over_classes: ErrorRates | None  # None in an older summary
    published: list[PublishedError]


def _error_row(summary: Summary, kind: str) -> ErrorRow:
    rates: ErrorRates = getattr(summary, kind)
    top1, top5 = (_measured(error, summary.n) for error in (rates.top1_error, rates.top5_error))
    means = getattr(summary.mean_over_classes, kind, None)
    return ErrorRow(VIEWS[kind], top1, top5, means, [error for error in summary.published if error.views == kind])


def _measured(error: float, n: int) -> Measured:
    return Measured(error, *wilson_interval(error, n))


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


class Bar(NamedTuple):
    """One of an image's five most probable labels."""

    name: str
    probability: float
    is_true: bool


class Figure(NamedTuple):
    """An image with its true class and its bars."""

    id: str
    name: str  # of the true class
    jpeg: str | None  # base64; None where the image is gone
    bars: list[Bar]


def _figure(row: int, predictions: Predictions, names: Sequence[str], data: Source, entry: Entry) -> Figure:
    true = int(predictions.labels[row])
    guesses = zip(predictions.top[row].tolist(), predictions.probabilities[row].tolist(), strict=True)
    bars = [Bar(names[index], probability, index == true) for index, probability in guesses if index >= 0]
    return Figure(entry.id, names[true], _thumbnail(data, entry), bars)


def _thumbnail(data: Source, entry: Entry) -> str | None:
    """The image as a small JPEG in base64, None where the image has vanished since it was evaluated."""
    try:
        pixels, _ = decode(data.read(entry), THUMBNAIL)
    except (ImageError, OSError):
        return None
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


@dataclass(frozen=True)
class ImageList:
    """The number of some images, and of the first LISTED of them the id and the message, which may be empty."""

    count: int
    shown: list[tuple[str, str]]


def _list_images(table: pa.Table, column: str) -> ImageList:
    """The images for which a column of booleans is true."""
    rows = table.select(["id", "message"]).filter(table[column])
    return ImageList(len(rows), [(row["id"], row["message"]) for row in rows[:LISTED].to_pylist()])
