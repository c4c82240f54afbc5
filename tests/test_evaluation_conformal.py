"""evaluation/conformal.py: thresholds of an independent oracle, and the coverage that sets reach on other images."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from tencrop.evaluation.conformal import PERCENTS, count_needed, cover_halves, fit_threshold, fit_thresholds
from tencrop.model.calibration import count_set

RECORD = Path(__file__).parent / "fixtures" / "embedded_answers.npz"  # of `python -m bench.calibration --record`
HALVES = 200


def oracle_sets(calibration: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, alpha: float) -> np.ndarray:
    """Sets as Angelopoulos and Bates write them (A gentle introduction to conformal prediction, 2021, section 1).

    Softmax outputs [n,C] and labels [n] of the calibration images, outputs [m,C] of others -> bool [m,C].
    """
    n = len(labels)
    scores = np.array([1 - row[label] for row, label in zip(calibration, labels, strict=True)])
    level = min(np.ceil(round((n + 1) * (1 - alpha), 9)) / n, 1)
    quantile = np.sort(scores)[int(np.ceil(round(level * n, 9))) - 1]
    return np.asarray(1 - probabilities <= quantile)


@pytest.mark.parametrize("percent", [80, 90, 95, 99])
def test_sets_are_those_of_the_oracle(percent: int) -> None:
    random = np.random.default_rng(percent)
    probabilities = random.dirichlet(np.full(8, 0.3), 1500)
    labels = np.array([random.choice(8, p=row) for row in probabilities])
    seen, other = probabilities[:1000], probabilities[1000:]
    threshold = fit_threshold(seen[np.arange(1000), labels[:1000]], percent)
    wanted = oracle_sets(seen, labels[:1000], other, 1 - percent / 100)
    wanted[np.arange(500), other.argmax(1)] = True
    counts = count_set(other, threshold)
    ranks = np.argsort(np.argsort(-other, axis=1), axis=1)
    np.testing.assert_array_equal(ranks < counts[:, None], wanted)
    assert wanted[np.arange(500), labels[1000:]].mean() == pytest.approx(percent / 100, abs=0.05)


def test_a_probability_that_is_rounded_above_1_makes_a_threshold_of_1() -> None:
    surest = np.full(100, np.nextafter(np.float32(1), np.float32(2)))
    assert {each.probability for each in fit_thresholds(surest)} == {1.0}


@given(st.lists(st.floats(0, 1), min_size=5, max_size=60, unique=True), st.sampled_from([80, 83, 90]))
def test_so_many_of_the_images_are_covered_by_their_own_threshold(true: list[float], percent: int) -> None:
    """At least ceil((n + 1) * coverage) of n images, and without ties no more."""
    n = len(true)
    rank = -(-(n + 1) * percent // 100)
    if rank <= n:
        assert (np.array(true) >= fit_threshold(np.array(true), percent)).sum() == rank


def test_a_coverage_takes_ten_images_for_each_one_outside() -> None:
    assert [count_needed(percent) for percent in (80, 90, 95, 99)] == [50, 100, 200, 1000]
    found = fit_thresholds(np.linspace(0, 1, 199))
    assert [round(100 * each.coverage) for each in found] == list(range(80, 95))
    assert len(fit_thresholds(np.linspace(0, 1, 1000))) == len(PERCENTS)
    thresholds = [each.probability for each in found]
    assert thresholds == sorted(thresholds, reverse=True)


@pytest.mark.parametrize("percent", [80, 90, 95])
def test_sets_of_the_embedded_model_cover_the_other_half_as_often_as_asked(percent: int) -> None:
    """Over 200 halves of the 1,170 photographs: the mean within 2 points, and the spread of the Beta law."""
    with np.load(RECORD) as record:
        true, is_first = record["true"], record["is_first"]
    reached = cover_halves(true, is_first, percent, HALVES)
    fitted = len(true) // 2
    rank = -(-(fitted + 1) * percent // 100)
    law = betabinom(len(true) - fitted, rank, fitted + 1 - rank).std() / (len(true) - fitted)
    assert len(true) == 1170
    assert abs(reached.mean() - percent / 100) < 0.02
    assert 0.8 < reached.std() / law < 1.2
