"""Top-1 and top-5 errors as integer counts, so that partial results of several workers add up exactly."""

from dataclasses import dataclass

import numpy as np

TOP = 5


def top_k(probabilities: np.ndarray, k: int = TOP) -> np.ndarray:
    """Indices of the k largest of each row, best first; ties go to the lower index. [N,C] -> int64 [N,min(k,C)]

    A row with a value that is not finite is no answer: its indices are -1.
    """
    best = np.argsort(-probabilities, axis=-1, kind="stable")[..., :k]
    return np.where(np.isfinite(probabilities).all(-1, keepdims=True), best, -1)


@dataclass(frozen=True)
class ErrorCounts:
    """Numbers of images and of wrong answers. An image without an answer is wrong in both."""

    n: int = 0
    top1_wrong: int = 0
    top5_wrong: int = 0

    @classmethod
    def from_top_k(cls, top: np.ndarray, labels: np.ndarray) -> "ErrorCounts":
        """Count the errors of `top_k` indices [N,k] against true labels [N]. A row of -1 has no answer."""
        hits = top == labels[:, None]
        return cls(len(labels), int((~hits[:, :1].any(1)).sum()), int((~hits[:, :TOP].any(1)).sum()))

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
