"""Conformal sets: the labels whose probability reaches a threshold, which hold the true one as often as was asked.

Split-conformal prediction with the score 1 - p (Sadinle, Lei and Wasserman, J. Am. Stat. Assoc. 114, 2019, 223-234).
"""

from collections.abc import Iterator

import numpy as np

from tencrop.model.calibration import Threshold, hold_true

PERCENTS = range(80, 100)  # the coverages
SEED = 2012  # of random halves
IMAGES_AT_LEAST = 10  # for each image outside a set: with fewer the coverage that is reached varies too much


def count_needed(percent: int) -> int:
    """The number of images that a coverage takes: 10 / (1 - coverage)."""
    return -(-IMAGES_AT_LEAST * 100 // (100 - percent))


def find_rank(n: int, percent: int) -> int:
    """The place of the threshold among the scores of n images, counted from 1: ceil((n + 1) * coverage)."""
    return -(-(n + 1) * percent // 100)


def fit_threshold(true_probabilities: np.ndarray, percent: int) -> float:
    """The probability that a label must reach, from the probabilities [n] of the true labels.

    1 - p of it is the ceil((n + 1) * coverage)-th smallest. The sets of images like these then hold the true label with
    at least this probability, as a mean over all choices of the n images.
    """
    n = len(true_probabilities)
    return min(float(np.sort(true_probabilities)[n - find_rank(n, percent)]), 1.0)  # a mean of ones may be above 1


def fit_thresholds(true_probabilities: np.ndarray) -> tuple[Threshold, ...]:
    """The thresholds of all coverages that there are enough images for."""
    n = len(true_probabilities)
    return tuple(
        Threshold(percent / 100, fit_threshold(true_probabilities, percent))
        for percent in PERCENTS
        if n >= count_needed(percent)
    )


def fit_halves(true_probabilities: np.ndarray, percent: int, halves: int) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (the threshold of one random half of the images, the indices of the other half), `halves` times."""
    random, n = np.random.default_rng(SEED), len(true_probabilities)
    for _ in range(halves):
        fitted, rest = np.split(random.permutation(n), [n // 2])
        yield fit_threshold(true_probabilities[fitted], percent), rest


def cover_halves(true_probabilities: np.ndarray, is_first: np.ndarray, percent: int, halves: int) -> np.ndarray:
    """The coverages [halves] that are reached on one random half of the images by the threshold of the other half.

    true_probabilities: of the true labels, [n]; is_first: whether the true label is the most probable one, bool [n].
    """
    found = fit_halves(true_probabilities, percent, halves)
    return np.array([hold_true(true_probabilities[rest], is_first[rest], each).mean() for each, rest in found])
