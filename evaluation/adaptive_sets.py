"""Adaptive prediction sets, which no file has and no server answers with: their sizes are compared with conformal.py's.

A set holds the most probable labels until their probabilities add up to a threshold; randomly, the last one is left
out. Randomized APS is that of Romano, Sesia and Candès (NeurIPS 2020, Classification with valid and adaptive coverage),
RAPS that of Angelopoulos, Bates, Malik and Jordan (ICLR 2021, Uncertainty sets for image classifiers using conformal
prediction). A set may be empty, as in both papers.
"""

from collections.abc import Mapping

import numpy as np

from tencrop.evaluation.conformal import fit_halves, fit_threshold

SEED = 2020  # of the random numbers, one an image
# k_reg and lambda of RAPS: kreg=5, lamda=0.01 in the authors' README, github.com/aangelopoulos/conformal_classification
FREE_LABELS = 5
PENALTIES: Mapping[str, float] = {"randomized APS": 0.0, "RAPS": 0.01}  # for each label beyond FREE_LABELS


def find_conformities(probabilities: np.ndarray, penalty: float) -> np.ndarray:
    """Probabilities [n,C] -> 1 - score of each label, float64 [n,C]; a set holds the labels that reach a threshold.

    The score is the sum of the larger probabilities, u times the label's own, and the penalty for each place that the
    label stands behind the first FREE_LABELS. u is uniform in [0, 1), one number an image.
    """
    n, classes = probabilities.shape
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1).astype(np.float64)
    random = np.random.default_rng(SEED).random((n, 1))
    scores = ranked.cumsum(1) - (1 - random) * ranked
    scores += penalty * np.maximum(0, np.arange(1, classes + 1) - FREE_LABELS)
    found = np.empty_like(scores)
    np.put_along_axis(found, order, 1 - scores, axis=1)
    return found


def count_labels(conformities: np.ndarray, labels: np.ndarray, percent: int) -> float:
    """The mean number of labels in a set of these images, [n,C] with true classes [n], by their own threshold."""
    threshold = fit_threshold(conformities[np.arange(len(labels)), labels], percent)
    return float((conformities >= threshold).sum(1).mean())


def judge_halves(conformities: np.ndarray, labels: np.ndarray, percent: int, halves: int) -> tuple[float, float]:
    """The coverage, and the labels in a set, of one random half by the other's threshold: means over `halves`."""
    true = conformities[np.arange(len(labels)), labels]
    found = [
        ((true[rest] >= threshold).mean(), (conformities[rest] >= threshold).sum(1).mean())
        for threshold, rest in fit_halves(true, percent, halves)
    ]
    reached, size = np.mean(found, axis=0)
    return float(reached), float(size)
