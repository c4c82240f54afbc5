"""Paired bootstrap: 95 % intervals of how far two validations of the same images differ in their scores.

Both runs are resampled by the same draws of images, so that what the images have in common cancels out (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13: percentile intervals).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tencrop.evaluation.intervals import SAMPLES, SEED
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.reliability import BINS, Reliability, find_bins
from tencrop.model.calibration import TINY

SCORES = {  # of each kind of prediction
    "center": ("nll", "brier", "ece"),
    "ten_crop": ("nll", "brier", "ece", "agreement"),  # the last is the mean number of views
}


def compare_scores(a: Predictions, b: Predictions, names: Sequence[str]) -> dict[str, dict[str, Any]] | None:
    """Compare these scores of one kind of prediction over the images that both runs have an answer for.

    For each score the result holds that of A, of B, B's minus A's, and its interval. None without such images, and
    where a run is of a version that kept no scores.
    """
    both = np.isfinite(a.brier) & np.isfinite(b.brier) & a.answered & b.answered
    if not both.any():
        return None
    n, of_a, of_b = int(both.sum()), _list_scores(a, both), _list_scores(b, both)
    differences = np.stack([of_b[name] - of_a[name] for name in of_a])
    binned = [_gaps(run, both) for run in (a, b)]
    random, samples = np.random.default_rng(SEED), []
    for _ in range(SAMPLES):
        times = np.bincount(random.integers(0, n, n), minlength=n)
        ece_a, ece_b = (np.abs(np.bincount(bins, gaps * times, BINS)).sum() for bins, gaps in binned)
        samples.append([*(differences @ times), ece_b - ece_a])
    ends = dict(zip((*of_a, "ece"), (np.percentile(samples, (2.5, 97.5), axis=0) / n).T.tolist(), strict=True))
    means = [{name: float(each.mean()) for name, each in of.items()} for of in (of_a, of_b)]
    for mean, run in zip(means, (a, b), strict=True):
        mean["ece"] = Reliability.from_answers(run.probabilities[both, 0], run.right[both]).ece
    in_a, in_b = means
    return {
        name: {"a": in_a[name], "b": in_b[name], "difference": in_b[name] - in_a[name], "interval": ends[name]}
        for name in names
    }


def compare_class_means(right_a: np.ndarray, right_b: np.ndarray, labels: np.ndarray) -> list[float]:
    """The interval of B's mean error over classes minus A's, given which images are right, bool [n], and labels [n].

    The images are drawn within their classes: there the numbers that only one run has right are multinomial.
    """
    only_a, only_b = (np.bincount(labels[one & ~other]) for one, other in ((right_a, right_b), (right_b, right_a)))
    images = np.bincount(labels)
    counts = np.zeros((len(images), 3), np.int64)
    counts[: len(only_a), 0], counts[: len(only_b), 1] = only_a, only_b
    counts[:, 2] = images - counts.sum(1)
    images, counts = images[images > 0], counts[images > 0]
    random, shares = np.random.default_rng(SEED), counts / images[:, None]
    samples = []
    for _ in range(SAMPLES):
        drawn = random.multinomial(images, shares)
        samples.append(((drawn[:, 0] - drawn[:, 1]) / images).mean())
    return [float(end) for end in np.percentile(samples, (2.5, 97.5))]


def _list_scores(of: Predictions, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The scores that are means over the images, float64 [n] each."""
    true = np.maximum(of.true_probability[rows].astype(np.float64), TINY)
    return {
        "nll": -np.log(true),
        "brier": of.brier[rows].astype(np.float64),
        "agreement": of.agreement[rows].astype(float),
    }


def _gaps(of: Predictions, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin of each answer, and its truth minus its probability: the bins' sums make the ECE."""
    probabilities = of.probabilities[rows, 0].astype(np.float64)
    return find_bins(probabilities), of.right[rows] - probabilities
