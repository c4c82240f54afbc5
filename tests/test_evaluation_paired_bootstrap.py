"""Differences of scores: each number against numpy, and each interval against a bootstrap written plainly."""

import numpy as np
import pytest
from support.records import make_records

from tencrop.evaluation.paired_bootstrap import SCORES, compare_class_means, compare_scores
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.reliability import BINS


def draw(seed: int, sharpness: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [150] that do not depend on the seed, and probabilities that do."""
    labels, random = np.random.default_rng(1).integers(0, 5, 150), np.random.default_rng(seed)
    logits = random.normal(0, 1, (150, 10, 5))
    logits[np.arange(150), :, labels] += 1
    views = np.exp(sharpness * logits)
    views = (views / views.sum(-1, keepdims=True)).astype(np.float32)
    return labels, views.mean(1), views


def ece(p: np.ndarray, labels: np.ndarray) -> float:
    first, right = p.max(1).astype(float), p.argmax(1) == labels
    bins = [(first >= i / BINS) & (first < (i + 1) / BINS) for i in range(BINS)]
    return float(sum(abs(right[of].sum() - first[of].sum()) for of in bins) / len(p))


def test_differences_and_their_intervals_equal_plain_numpy() -> None:
    (labels, mean_a, views_a), (_, mean_b, views_b) = draw(2, 1), draw(3, 3)
    a, b = (Predictions.from_table(make_records(*of)) for of in ((labels, mean_a, views_a), (labels, mean_b, views_b)))
    found = compare_scores(a, b, SCORES["ten_crop"])
    assert found is not None and list(found) == ["nll", "brier", "ece", "agreement"]
    rows, truth = np.arange(150), np.eye(5)[labels]
    each = {
        "nll": [-np.log(p[rows, labels].astype(float)) for p in (mean_a, mean_b)],
        "brier": [((p - truth) ** 2).sum(1) for p in (mean_a, mean_b)],
        "agreement": [
            (views.argmax(-1) == p.argmax(-1)[:, None]).sum(1) for p, views in ((mean_a, views_a), (mean_b, views_b))
        ],
    }
    random, samples = np.random.default_rng(9), []
    for _ in range(1500):
        at = random.integers(0, 150, 150)
        sample = [(of_b[at] - of_a[at]).mean() for of_a, of_b in each.values()]
        samples.append([*sample, ece(mean_b[at], labels[at]) - ece(mean_a[at], labels[at])])
    wide = np.percentile(samples, (2.5, 97.5), axis=0).T
    expected = {name: (of[0].mean(), of[1].mean()) for name, of in each.items()}
    expected["ece"] = (ece(mean_a, labels), ece(mean_b, labels))
    for (name, (in_a, in_b)), ends in zip(expected.items(), wide, strict=True):
        of = found[name]
        assert (of["a"], of["b"], of["difference"]) == pytest.approx((in_a, in_b, in_b - in_a), abs=1e-5)
        assert of["interval"] == pytest.approx(ends, abs=0.12 * (ends[1] - ends[0]))
    assert found["agreement"]["interval"][1] < 0  # chance alone would seldom do this


def test_a_run_compared_with_itself_has_no_difference() -> None:
    a = Predictions.from_table(make_records(*draw(2, 1)))
    found = compare_scores(a, a, SCORES["center"])
    assert found is not None and list(found) == ["nll", "brier", "ece"]
    assert all(of["difference"] == 0 and of["interval"] == [0, 0] for of in found.values())


def test_class_means_have_the_interval_of_a_bootstrap_within_classes() -> None:
    random = np.random.default_rng(7)
    labels = np.repeat([0, 2, 3], (12, 40, 90))  # class 1 has no image
    right_a, right_b = random.random(142) < 0.6, random.random(142) < 0.75
    samples = []
    for _ in range(2000):
        at = np.concatenate([random.choice(np.flatnonzero(labels == c), (labels == c).sum()) for c in (0, 2, 3)])
        samples.append(np.mean([(right_a[at] * 1.0 - right_b[at])[labels[at] == c].mean() for c in (0, 2, 3)]))
    assert compare_class_means(right_a, right_b, labels) == pytest.approx(np.percentile(samples, (2.5, 97.5)), abs=0.03)
    assert compare_class_means(right_a, right_a, labels) == [0, 0]
