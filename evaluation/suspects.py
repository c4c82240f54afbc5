"""Suspects: images whose label may be wrong, by confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021).

A class's threshold is the mean probability that its own images give it. An image is a suspect where the most probable
class that reaches its threshold is not the image's own. The suspects are ranked by how much more probable that class is
than their own. The original looks at all classes; this one at the five that the records keep. A suspicion it stays: a
weak net suspects many right labels, and one that was trained on the images trusts wrong ones.
"""

from typing import NamedTuple

import numpy as np

from tencrop.evaluation.record_queries import Predictions


class Suspect(NamedTuple):
    """The row of an image, and the class that it looks like."""

    row: int
    looks_like: int


def find_suspects(predictions: Predictions, most: int) -> list[Suspect]:
    """Find up to `most` suspects among n images, the most suspicious first."""
    rows = np.flatnonzero(predictions.answered)
    labels, top, probabilities = predictions.labels[rows], predictions.top[rows], predictions.probabilities[rows]
    true = predictions.true_probability[rows].astype(np.float64)
    thresholds = np.full(max(labels.max(initial=0), top.max(initial=0)) + 1, np.inf)  # of a class without an image
    images = np.bincount(labels)
    seen = np.flatnonzero(images)
    thresholds[seen] = np.bincount(labels, true)[seen] / images[seen]
    reaches = (top >= 0) & (probabilities >= thresholds[top])
    first = reaches.argmax(1)  # the labels are sorted by their probability
    columns = (top, probabilities, predictions.hits[rows])
    looks_like, likely, is_right = (np.take_along_axis(of, first[:, None], 1)[:, 0] for of in columns)
    suspected = np.flatnonzero(reaches.any(1) & ~is_right)
    order = suspected[np.argsort(true[suspected] - likely[suspected], kind="stable")][:most]
    return [Suspect(int(rows[i]), int(looks_like[i])) for i in order]
