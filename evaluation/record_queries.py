"""What the records of a validation say, worked out on columns: only rows that are shown become Python objects."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tencrop.evaluation.prediction_records import pad_top5
from tencrop.model.metrics import TOP


class ClassErrors(NamedTuple):
    """One class: its index in the model's labels, its images, and the fractions of them that are wrong."""

    label: int
    images: int
    top1_error: float
    top5_error: float


class Confusion(NamedTuple):
    """Images of class `label` that were taken for class `taken`."""

    label: int
    taken: int
    images: int


@dataclass(frozen=True, eq=False)
class Predictions:
    """The ten views' answers to n images; an undecodable one has indices of -1 and is wrong."""

    labels: np.ndarray  # int32 [n], the true ones
    top: np.ndarray  # int32 [n,TOP], best first; -1 too where a model has fewer classes
    probabilities: np.ndarray  # float32 [n,TOP], -1 where top is

    @classmethod
    def from_table(cls, table: pa.Table) -> "Predictions":
        """From a table as records.SCHEMA."""
        top, probabilities = (pad_top5(table[f"ten_crop_{what}"]) for what in ("indices", "probabilities"))
        return cls(table["label"].to_numpy(), top, probabilities)

    @property
    def decoded(self) -> np.ndarray:
        """Bool [n]."""
        return np.asarray(self.top[:, 0] >= 0)

    def classes(self) -> list[ClassErrors]:
        """Each class that has images, the worst first."""
        hits = self.top == self.labels[:, None]
        images = np.bincount(self.labels)
        wrong = [np.bincount(self.labels[~hits[:, :k].any(1)], minlength=len(images)) for k in (1, TOP)]
        first, five = (count / np.maximum(images, 1) for count in wrong)
        order = np.lexsort((-five, -first))
        return [ClassErrors(int(c), int(images[c]), float(first[c]), float(five[c])) for c in order if images[c]]

    def confusions(self, most: int) -> list[Confusion]:
        """The most frequent wrong answers, at most `most`."""
        wrong = self._mistakes()
        pairs, images = np.unique(np.stack((self.labels[wrong], self.top[wrong, 0]), 1), axis=0, return_counts=True)
        order = np.argsort(-images, kind="stable")[:most]
        return [Confusion(int(pairs[i, 0]), int(pairs[i, 1]), int(images[i])) for i in order]

    def surest_mistakes(self, most: int) -> list[int]:
        """Rows of wrong images, the highest probability of the wrong label first."""
        wrong = self._mistakes()
        order = np.argsort(-self.probabilities[wrong, 0], kind="stable")[:most]
        return [int(row) for row in wrong[order]]

    def spread(self, most: int) -> list[int]:
        """Rows of decoded images, evenly over the data set."""
        rows = np.flatnonzero(self.decoded)
        shown = min(most, len(rows))
        return [int(rows[i * len(rows) // shown]) for i in range(shown)]

    def _mistakes(self) -> np.ndarray:
        """Rows that were decoded and whose most probable label is wrong."""
        return np.flatnonzero(self.decoded & (self.top[:, 0] != self.labels))
