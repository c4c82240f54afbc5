"""Top-1 and top-5 errors as integer counts, so that partial results of several workers add up exactly."""

from dataclasses import dataclass
from math import sqrt
from statistics import fmean

import numpy as np

from tencrop.model.measured_errors import ErrorRates

TOP = 5
Z = 1.96  # of a 95 % interval


def top_k(probabilities: np.ndarray, k: int = TOP) -> np.ndarray:
    """Indices of the k largest of each row, best first; ties go to the lower index. [N,C] -> int64 [N,min(k,C)]

    A row with a value that is not finite is no answer: its indices are -1.
    """
    k = min(k, probabilities.shape[-1])
    least = np.partition(probabilities, -k)[..., -k, None]  # of the k largest
    others_last = np.where(probabilities >= least, -probabilities, np.inf)  # equal values are sorted at once
    best = np.argsort(others_last, kind="stable")[..., :k]
    return np.where(np.isfinite(probabilities).all(-1, keepdims=True), best, -1)


def count_agreement(first: np.ndarray, view_probabilities: np.ndarray) -> np.ndarray:
    """Count the views whose own first label is the answer's: int [N] and probabilities [N,V,C] -> int64 [N]."""
    return np.asarray((view_probabilities.argmax(-1) == first[:, None]).sum(-1))


@dataclass(frozen=True)
class ErrorCounts:
    """Numbers of images and of wrong answers. An image without an answer is wrong in both."""

    n: int = 0
    top1_wrong: int = 0
    top5_wrong: int = 0

    @classmethod
    def from_top_k(cls, top: np.ndarray, labels: np.ndarray) -> "ErrorCounts":
        """Count the errors of `top_k` indices [N,k] against true labels [N]. A row of -1 has no answer."""
        return cls.from_hits(top == labels[:, None])

    @classmethod
    def from_hits(cls, hits: np.ndarray) -> "ErrorCounts":
        """Count the errors where it is known of each of the k predictions whether it is right, bool [N,k]."""
        return cls(len(hits), int((~hits[:, :1].any(1)).sum()), int((~hits[:, :TOP].any(1)).sum()))

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(self.n + other.n, self.top1_wrong + other.top1_wrong, self.top5_wrong + other.top5_wrong)

    @property
    def top1_error(self) -> float:
        """Fraction of n; 0 where n is 0."""
        return self.top1_wrong / max(self.n, 1)

    @property
    def top5_error(self) -> float:
        """Fraction of n; 0 where n is 0."""
        return self.top5_wrong / max(self.n, 1)

    def to_dict(self) -> dict[str, float]:
        """Both errors under their keys in a report."""
        return {"top1_error": self.top1_error, "top5_error": self.top5_error}


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Numbers of images and of wrong answers for each class 0..C-1, int64 [C]; a class may have no image."""

    images: np.ndarray
    top1_wrong: np.ndarray
    top5_wrong: np.ndarray

    @classmethod
    def from_hits(cls, hits: np.ndarray, labels: np.ndarray) -> "ClassCounts":
        """Count the errors, given the true labels [N], and whether each of the k predictions is right, bool [N,k]."""
        images = np.bincount(labels)
        wrong = [np.bincount(labels[~hits[:, :k].any(1)], minlength=len(images)) for k in (1, TOP)]
        return cls(images, *wrong)

    def mean_error(self) -> ErrorRates:
        """The mean over the classes that have images of the error within the class: each class counts alike.

        The sum is exact before it is rounded, so it is equal on every machine.
        """
        seen = self.images > 0
        first, five = (wrong[seen] / self.images[seen] for wrong in (self.top1_wrong, self.top5_wrong))
        return ErrorRates(fmean(first.tolist()), fmean(five.tolist()))


def wilson_interval(error: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an error that is a fraction of n, within 0 and 1."""
    middle, spread = error + Z * Z / (2 * n), Z * sqrt(error * (1 - error) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)  # rounding may carry them past
