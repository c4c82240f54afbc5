"""Computes a report's figures on the columns of the records; only the rows that are shown become Python objects."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tencrop.evaluation.prediction_records import find_hits, pad_top5
from tencrop.model.metrics import ClassCounts


class ClassErrors(NamedTuple):
    """One class: its index in the model's labels, its images, and the fractions of them that are wrong."""

    label: int
    images: int
    top1_error: float
    top5_error: float


class Confusion(NamedTuple):
    """Number of images of class `label` whose most probable label is the class `taken`."""

    label: int
    taken: int
    images: int


@dataclass(frozen=True, eq=False)
class Predictions:
    """One kind of prediction for n images. One without an answer has indices and an agreement of -1, and is wrong."""

    labels: np.ndarray  # int32 [n], the true classes
    top: np.ndarray  # int32 [n,5], best first; also -1 where the model has fewer classes than TOP
    hits: np.ndarray  # bool [n,5], whether each of `top` is right
    probabilities: np.ndarray  # float32 [n,5], -1 where `top` is
    true_probability: np.ndarray  # float32 [n] of the true class, NaN without an answer
    brier: np.ndarray  # float32 [n], the squared error of all probabilities, NaN without an answer
    agreement: np.ndarray  # int8 [n], how many of the ten views have the ten views' first label as their own

    @classmethod
    def from_table(cls, table: pa.Table, kind: str = "ten_crop") -> "Predictions":
        """Take the columns of one kind of VIEWS from a table of prediction_records.SCHEMA."""
        top, probabilities = (pad_top5(table[f"{kind}_{what}"]) for what in ("indices", "probabilities"))
        true_probability, brier = (table[f"{kind}_{what}"].to_numpy() for what in ("true_probability", "brier"))
        agreement = pc.fill_null(table["view_agreement"], -1).to_numpy()
        hits = find_hits(table, kind)
        return cls(table["label"].to_numpy(), top, hits, probabilities, true_probability, brier, agreement)

    @property
    def answered(self) -> np.ndarray:
        """True for images that have an answer, bool [n]."""
        return np.asarray(self.top[:, 0] >= 0)

    @property
    def right(self) -> np.ndarray:
        """True for images whose first label is right, bool [n]."""
        return np.asarray(self.hits[:, 0])

    @property
    def right_in_five(self) -> np.ndarray:
        """True for images for which one of the five labels is right, bool [n]."""
        return np.asarray(self.hits.any(1))

    def count_by_class(self) -> ClassCounts:
        """Count the errors within each class."""
        return ClassCounts.from_hits(self.hits, self.labels)

    def rank_classes(self) -> list[ClassErrors]:
        """Count the errors of each class that has images; the worst class comes first."""
        counts = self.count_by_class()
        images = counts.images
        first, five = (wrong / np.maximum(images, 1) for wrong in (counts.top1_wrong, counts.top5_wrong))
        order = np.lexsort((-five, -first))
        return [ClassErrors(int(c), int(images[c]), float(first[c]), float(five[c])) for c in order if images[c]]

    def rank_confusions(self, most: int) -> list[Confusion]:
        """Find up to `most` pairs of a true and a predicted class, the most frequent first."""
        wrong = self._mistakes()
        pairs, images = np.unique(np.stack((self.labels[wrong], self.top[wrong, 0]), 1), axis=0, return_counts=True)
        order = np.argsort(-images, kind="stable")[:most]
        return [Confusion(int(pairs[i, 0]), int(pairs[i, 1]), int(images[i])) for i in order]

    def find_surest_mistakes(self, most: int) -> list[int]:
        """Find the rows of up to `most` wrong images, the highest probability of the wrong label first."""
        wrong = self._mistakes()
        order = np.argsort(-self.probabilities[wrong, 0], kind="stable")[:most]
        return [int(row) for row in wrong[order]]

    def sample_evenly(self, most: int) -> list[int]:
        """Choose the rows of up to `most` images that have an answer, evenly over the data set."""
        rows = np.flatnonzero(self.answered)
        shown = min(most, len(rows))
        return [int(rows[i * len(rows) // shown]) for i in range(shown)]

    def _mistakes(self) -> np.ndarray:
        """Rows of images that have an answer whose most probable label is wrong."""
        return np.flatnonzero(self.answered & ~self.right)
