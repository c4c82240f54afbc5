"""ImageCard: an image of a report with its five most probable labels as bars, as in figure 4 of the paper."""

from collections.abc import Sequence
from typing import NamedTuple

from tencrop.dataset.source import Entry, Source
from tencrop.evaluation.record_queries import Predictions
from tencrop.images.errors import ImageError
from tencrop.images.thumbnail import make_thumbnail


class Bar(NamedTuple):
    """One of an image's five most probable labels."""

    name: str
    probability: float
    is_true: bool


class ImageCard(NamedTuple):
    """An image with its true class and its bars."""

    id: str
    name: str  # of the true class
    jpeg: str | None  # base64; None where the image is gone
    bars: list[Bar]
    agreement: int  # how many of the ten views say the first label by themselves
    looks_like: str  # the class that a suspect of another label looks like, else empty


def make_card(
    row: int, predictions: Predictions, names: Sequence[str], data: Source, entry: Entry, looks_like: str = ""
) -> ImageCard:
    """Make the card of one row, and read its image from the data set once more."""
    true = int(predictions.labels[row])
    columns = (predictions.top, predictions.probabilities, predictions.hits)
    guesses = zip(*(column[row].tolist() for column in columns), strict=True)
    bars = [Bar(names[index], probability, hit) for index, probability, hit in guesses if index >= 0]
    agreement = int(predictions.agreement[row])
    return ImageCard(entry.id, names[true], _thumbnail(data, entry), bars, agreement, looks_like)


def _thumbnail(data: Source, entry: Entry) -> str | None:
    """The image as a small JPEG in base64, None where the image has vanished since it was evaluated."""
    try:
        return make_thumbnail(data.read(entry))
    except (ImageError, OSError):
        return None
