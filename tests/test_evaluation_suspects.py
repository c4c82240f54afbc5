"""Suspects: labels that were swapped on purpose are found, by the rule of confident learning written plainly."""

import numpy as np
from support.records import make_records

from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.suspects import find_suspects


def draw(n: int = 200, classes: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [n], of which the first twelve are swapped, and probabilities [n,C] that know the true ones."""
    random = np.random.default_rng(n)
    labels = random.integers(0, classes, n)
    logits = random.normal(0, 1, (n, 10, classes))
    logits[np.arange(n), :, labels] += 4
    labels[:12] = (labels[:12] + 1) % classes
    views = np.exp(logits)
    views = (views / views.sum(-1, keepdims=True)).astype(np.float32)
    return labels, views.mean(1), views


def test_suspects_are_those_of_a_loop_over_images_and_classes() -> None:
    labels, mean, views = draw()
    thresholds = [mean[labels == c, c].mean() for c in range(5)]
    expected = []
    for row, (label, p) in enumerate(zip(labels, mean, strict=True)):
        confident = [c for c in range(5) if p[c] >= thresholds[c]]
        if confident and (best := max(confident, key=lambda c: p[c])) != label:
            expected.append((p[label] - p[best], row, best))
    found = find_suspects(Predictions.from_table(make_records(labels, mean, views)), 1000)
    assert found == [(row, best) for _, row, best in sorted(expected)]
    assert {row for row, _ in found} < set(range(12)) and len(found) > 6


def test_no_more_than_asked_and_none_without_an_answer() -> None:
    labels, mean, views = draw()
    predictions = Predictions.from_table(make_records(labels, mean, views))
    assert find_suspects(predictions, 3) == find_suspects(predictions, 1000)[:3]
    nothing = np.full_like(mean, np.nan), np.full_like(views, np.nan)
    assert find_suspects(Predictions.from_table(make_records(labels, *nothing)), 3) == []


def test_a_class_without_an_image_is_never_what_an_image_looks_like() -> None:
    labels, mean, views = draw()
    few = labels != 4
    found = find_suspects(Predictions.from_table(make_records(labels[few], mean[few], views[few])), 1000)
    assert found and all(looks_like != 4 for _, looks_like in found)
