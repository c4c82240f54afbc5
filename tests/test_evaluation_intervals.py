"""Intervals of errors: a bootstrap that draws images one by one gives the same."""

import numpy as np
import pytest

from tencrop.evaluation.intervals import bootstrap_intervals, wilson_intervals
from tencrop.model.metrics import ClassCounts, ErrorCounts


def test_means_over_classes_have_the_interval_of_a_bootstrap_over_their_images() -> None:
    random = np.random.default_rng(3)
    images, errors = (40, 7, 0, 90), (0.5, 0.3, 0, 0.1)
    wrong = [random.random(n) < error for n, error in zip(images, errors, strict=True)]
    counts = np.array([of.sum() for of in wrong])
    means = [np.mean([random.choice(of, len(of)).mean() for of in wrong if len(of)]) for _ in range(2000)]
    found = bootstrap_intervals(ClassCounts(np.array(images), counts, counts // 2))
    assert found.top1_error == pytest.approx(tuple(np.percentile(means, (2.5, 97.5))), abs=0.02)
    assert found.top5_error[1] < found.top1_error[1]
    assert bootstrap_intervals(ClassCounts(np.array(images), counts, counts // 2)) == found


def test_errors_over_images_have_wilsons_interval() -> None:
    found = wilson_intervals(ErrorCounts(100, 10, 0))
    assert found.top1_error == pytest.approx((0.0552, 0.1744), abs=1e-4)  # Wilson 1927
    assert found.top5_error[0] == 0 < found.top5_error[1]
