"""experiments/rare_classes.py: dividing by the shares undoes a net that multiplies by them."""

import numpy as np
import pytest

from experiments.rare_classes import divide, measure_errors

TRAINED = np.array([900, 90, 10])
HONEST = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])


def test_dividing_by_the_shares_undoes_a_multiplication_by_them() -> None:
    favoring = HONEST * TRAINED
    favoring /= favoring.sum(1, keepdims=True)
    assert favoring.argmax(1).tolist() == [0, 0]
    np.testing.assert_allclose(divide(favoring, TRAINED, 1), HONEST)
    np.testing.assert_array_equal(divide(HONEST, TRAINED, 0), HONEST)


def test_a_mean_over_classes_gives_a_rare_class_the_same_weight() -> None:
    guesses = np.eye(3)[[0, 0, 0, 0]]
    assert measure_errors(guesses, np.array([0, 0, 0, 2])) == pytest.approx((0.25, 0.5))
