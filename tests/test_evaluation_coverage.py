"""Error against coverage equals a count for every threshold."""

import numpy as np

from tencrop.evaluation.coverage import POINTS, trace_errors


def test_each_point_counts_the_answers_that_a_threshold_keeps() -> None:
    random = np.random.default_rng(0)
    score, right = random.permutation(60) / 60, random.random(60) < 0.6
    expected = []
    for threshold in sorted(score, reverse=True):
        kept = score >= threshold
        expected.append((kept.mean(), (~right[kept]).mean()))
    np.testing.assert_allclose(trace_errors(right, [score]), expected)


def test_equal_answers_are_kept_together_unless_another_score_ranks_them() -> None:
    agreement, right = np.array([10, 3, 10, 3, 3]), np.array([True, False, False, True, False])
    assert trace_errors(right, [agreement]) == [(0.4, 0.5), (1.0, 0.6)]
    probability = np.array([0.9, 0.95, 0.8, 0.97, 0.1])
    both = trace_errors(right, [agreement, probability])
    assert both == [(0.2, 0.0), (0.4, 0.5), (0.6, 1 / 3), (0.8, 0.5), (1.0, 0.6)]


def test_curve_of_many_images_has_few_points_and_ends_at_all_of_them() -> None:
    random = np.random.default_rng(1)
    points = trace_errors(random.random(5000) < 0.5, [random.random(5000)])
    assert len(points) == POINTS and points[-1][0] == 1
    assert trace_errors(np.array([True]), [np.array([0.5])]) == [(1.0, 0.0)]
