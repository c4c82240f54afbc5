"""Coverage: the error among the answers that are kept where only the surest ones are."""

from collections.abc import Sequence

import numpy as np

POINTS = 100  # of a curve, at most


def trace_errors(right: np.ndarray, scores: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """The curve of (share of the answers that are kept, error among them), from few answers to all of them.

    `right` is bool [n]. The answers with the highest of the first score are kept first; of equal ones those with the
    highest of the next score. Answers that are equal in all scores are kept together.
    """
    order = np.lexsort([-score for score in reversed(scores)])
    wrong = np.cumsum(~right[order])
    differs = np.any([np.diff(score[order]) != 0 for score in scores], axis=0)
    ends = np.append(np.flatnonzero(differs), len(order) - 1)  # of the groups of equal answers
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, POINTS).astype(int))]
    return [((end + 1) / len(order), wrong[end] / (end + 1)) for end in ends.tolist()]
