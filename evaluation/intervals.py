"""Intervals: how far the errors of a validation may be from those of all images like these, 95 %."""

import numpy as np
from pydantic.dataclasses import dataclass

from tencrop.common.strict_config import STRICT, Share
from tencrop.model.metrics import ClassCounts, ErrorCounts, wilson_interval

SAMPLES = 1000  # of the bootstrap
SEED = 2012

Interval = tuple[Share, Share]  # the lower and the upper end


@dataclass(frozen=True, config=STRICT)
class RateIntervals:
    """The intervals of two errors."""

    top1_error: Interval
    top5_error: Interval


@dataclass(frozen=True, config=STRICT)
class IntervalsByViews:
    """The intervals by each kind of prediction."""

    center: RateIntervals
    ten_crop: RateIntervals


@dataclass(frozen=True, config=STRICT)
class ErrorIntervals:
    """The intervals of the errors over images, and of their means over classes."""

    over_images: IntervalsByViews
    mean_over_classes: IntervalsByViews


def wilson_intervals(errors: ErrorCounts) -> RateIntervals:
    """Wilson's intervals of errors over images."""
    return RateIntervals(*(wilson_interval(error, errors.n) for error in (errors.top1_error, errors.top5_error)))


def bootstrap_intervals(counts: ClassCounts) -> RateIntervals:
    """Percentile intervals of the means over classes, by a bootstrap over the images within each class.

    Of `images` draws with replacement from a class of as many, the number of wrong ones is binomial.
    """
    random, seen = np.random.default_rng(SEED), counts.images > 0
    images = counts.images[seen]
    ends = []
    for wrong in (counts.top1_wrong, counts.top5_wrong):
        error = wrong[seen] / images
        means = [(random.binomial(images, error) / images).mean() for _ in range(SAMPLES)]
        low, high = np.percentile(means, (2.5, 97.5))
        ends.append((float(low), float(high)))
    return RateIntervals(*ends)
