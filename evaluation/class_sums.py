"""ClassSums: what the calibration of every class is computed from; those of chunks add up to those of the run."""

import zlib
from dataclasses import dataclass

import numpy as np

from tencrop.evaluation.reliability import BINS, find_bins

SUMS = 4


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums over images for each class c and each bin of the probability p of c, float64 [SUMS,C,BINS].

    They are the number of images, the number of those whose true class is c, the sum of p, and the sum of (p - y)^2,
    where y is 1 for an image of class c and 0 for others. A class is judged as by its own one-against-the-rest net.
    """

    sums: np.ndarray

    @classmethod
    def from_probabilities(cls, probabilities: np.ndarray, right: np.ndarray) -> "ClassSums":
        """Add up probabilities [n,C] of images for which these classes are right, bool [n,C]."""
        classes = probabilities.shape[1]
        exact, true = probabilities.astype(np.float64), right.astype(np.float64)
        places = (np.arange(classes) * BINS + find_bins(exact)).ravel()
        of = (np.ones_like(exact), true, exact, (exact - true) ** 2)
        return cls(np.stack([np.bincount(places, each.ravel(), classes * BINS) for each in of]).reshape(SUMS, -1, BINS))

    def __add__(self, other: "ClassSums") -> "ClassSums":
        return ClassSums(self.sums + other.sums)

    def to_bytes(self) -> bytes:
        """Pack the sums; most of a chunk's are 0."""
        return zlib.compress(self.sums.astype("<f8").tobytes(), 1)

    @classmethod
    def from_bytes(cls, packed: bytes) -> "ClassSums":
        """Unpack what `to_bytes` gave. Raises ValueError where it is damaged."""
        try:
            return cls(np.frombuffer(zlib.decompress(packed), "<f8").reshape(SUMS, -1, BINS))
        except zlib.error as error:
            raise ValueError(str(error)) from None

    def ece(self) -> np.ndarray:
        """The expected calibration error of each class, [C]; 0 without an image."""
        images, true, probability, _ = self.sums
        return np.asarray(np.abs(true - probability).sum(1) / np.maximum(images.sum(1), 1))

    def brier(self) -> np.ndarray:
        """The mean of (p - y)^2 for each class, [C]; 0 without an image."""
        images, _, _, squares = self.sums
        return np.asarray(squares.sum(1) / np.maximum(images.sum(1), 1))
