"""Top-1 and top-5 error: counts that add up exactly, whoever counted them."""

from dataclasses import dataclass

import numpy as np

TOP = 5


def top_k(probabilities: np.ndarray, k: int = TOP) -> np.ndarray:
    """Indices of the k largest of each row, best first; ties go to the lower index. [N,C] -> int64 [N,min(k,C)]"""
    return np.argsort(-probabilities, axis=-1, kind="stable")[..., :k]


@dataclass(frozen=True)
class ErrorCounts:
    """Images seen and images wrong. An image that could not be decoded is wrong in both."""

    n: int = 0
    top1_wrong: int = 0
    top5_wrong: int = 0

    @classmethod
    def from_top_k(cls, top: np.ndarray, labels: np.ndarray) -> "ErrorCounts":
        """From `top_k` indices [N,k] and true labels [N]; a row of -1 is an undecodable image."""
        hits = top == labels[:, None]
        return cls(len(labels), int((~hits[:, :1].any(1)).sum()), int((~hits[:, :TOP].any(1)).sum()))

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(self.n + other.n, self.top1_wrong + other.top1_wrong, self.top5_wrong + other.top5_wrong)

    @property
    def top1_error(self) -> float:
        """Fraction of n; 0 where nothing was seen."""
        return self.top1_wrong / max(self.n, 1)

    @property
    def top5_error(self) -> float:
        """Fraction of n; 0 where nothing was seen."""
        return self.top5_wrong / max(self.n, 1)

    def to_dict(self) -> dict[str, float]:
        """As a report writes it."""
        return {"top1_error": self.top1_error, "top5_error": self.top5_error}
