"""Reliability: how often answers are right at each probability, and the expected calibration error (ECE) of that."""

from dataclasses import dataclass

import numpy as np
from pydantic.dataclasses import dataclass as strict_dataclass

from tencrop.common.strict_config import STRICT, NotNegative

BINS = 15  # of equal width, as Guo et al. have them (On Calibration of Modern Neural Networks, ICML 2017)
NETS = 1000  # simulated
SEED = 2012


def find_bins(probabilities: np.ndarray) -> np.ndarray:
    """The bin of each probability, int64 0..BINS-1. A bin holds its lower edge, the last one also 1."""
    return np.minimum((probabilities.astype(np.float64) * BINS).astype(np.int64), BINS - 1)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Sums over the images in each bin of the probability of their first label, [BINS]."""

    images: np.ndarray  # float64, a whole number
    probability: np.ndarray  # float64
    right: np.ndarray  # float64, a whole number of images whose first label is the true one

    @classmethod
    def from_answers(cls, probabilities: np.ndarray, right: np.ndarray) -> "Reliability":
        """Sort n answers into the bins, given the probability of each first label, and whether it is right."""
        bins = find_bins(probabilities)
        return cls(*(np.bincount(bins, of, BINS) for of in (np.ones(len(bins)), probabilities, right)))

    @property
    def ece(self) -> float:
        """Mean over the images of the distance between a bin's mean probability and its share of right answers."""
        return float(np.abs(self.right - self.probability).sum() / self.images.sum())


@strict_dataclass(frozen=True, config=STRICT)
class CalibratedEce:
    """The ECE of nets that are right exactly as often as they say: its mean, and the middle 95 % of them.

    It is not 0, for a bin of few images is right by chance more or less often.
    """

    mean: NotNegative
    low: NotNegative
    high: NotNegative


def simulate_calibrated(probabilities: np.ndarray) -> CalibratedEce:
    """Draw for NETS nets which of n answers with these probabilities are right, and take the ECE of each net."""
    random, bins = np.random.default_rng(SEED), find_bins(probabilities)
    stated = np.bincount(bins, probabilities, BINS)
    errors = [
        np.abs(np.bincount(bins, random.random(len(bins), np.float32) < probabilities, BINS) - stated).sum()
        for _ in range(NETS)
    ]
    low, high = np.percentile(errors, (2.5, 97.5)) / len(bins)
    return CalibratedEce(float(np.mean(errors) / len(bins)), float(low), float(high))
