"""evaluation/confidence_fit.py: fits find what made the labels, and a map that does not help is not taken."""

import numpy as np
import pytest
from oracles import softmax
from sklearn.isotonic import IsotonicRegression

from tencrop.evaluation.confidence_fit import FITS, Answers, choose_map, count_loss, fit_isotonic, try_map
from tencrop.model.calibration import TriedMap

N, CLASSES = 3000, 5


def make_answers(temperature: float, biases: np.ndarray | float = 0.0, noise: float = 0.0) -> Answers:
    """Views that differ by noise, and labels that the mean states with another temperature and biases."""
    random = np.random.default_rng(7)
    logits = random.normal(0, 2, (N, 1, CLASSES)) + noise * random.normal(0, 1, (N, 10, CLASSES))
    views = softmax(logits).astype(np.float32)
    mean = views.mean(1)
    true = softmax(np.log(mean) / temperature + biases)
    labels = (random.random((N, 1)) > true.cumsum(1)).sum(1).clip(0, CLASSES - 1)
    return Answers(mean, views, labels)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
@pytest.mark.parametrize("name", ["temperature of the mean", "temperature of each view"])
def test_a_temperature_is_found_again(name: str, temperature: float) -> None:
    """Without noise all views are alike, so that both kinds of temperature are one."""
    assert FITS[name](make_answers(temperature), name).temperature == pytest.approx(temperature, rel=0.08)


def test_biases_are_found_again_together_with_the_temperature() -> None:
    biases = np.array([1.0, -1.0, 0.5, 0.0, -0.5])
    found = FITS["temperature and biases"](make_answers(1.5, biases), "b")
    assert found.temperature == pytest.approx(1.5, rel=0.08)
    np.testing.assert_allclose(np.array(found.biases) - np.mean(found.biases), biases - biases.mean(), atol=0.15)


def test_a_class_without_images_keeps_a_small_bias() -> None:
    answers = make_answers(1.0)
    seen = answers.select(answers.labels != 2)
    assert -6 < FITS["temperature and biases"](seen, "b").biases[2] < -1


def test_isotonic_knots_are_the_steps_of_scikit_learn() -> None:
    answers = make_answers(2.5)
    hits = np.zeros_like(answers.mean)
    hits[np.arange(N), answers.labels] = 1
    oracle = IsotonicRegression().fit(answers.mean.ravel().astype(np.float64), hits.ravel())
    knots = fit_isotonic(answers, "isotonic").knots
    probabilities, shares = np.array(knots[1:]).T
    np.testing.assert_allclose(oracle.predict(probabilities), shares, atol=1e-6)
    assert len(knots) > 5
    assert knots[0] == (0, 0)


def test_isotonic_takes_equal_probabilities_together() -> None:
    mean = np.array([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.75, 0.25]], np.float32)
    answers = Answers(mean, mean[:, None].repeat(10, 1), np.array([0, 0, 0, 1]))
    assert fit_isotonic(answers, "isotonic").knots == ((0, 0), (0.25, 0.25), (0.75, 0.75))


@pytest.mark.parametrize("name", FITS)
def test_every_map_lowers_the_loss_of_an_overconfident_net(name: str) -> None:
    answers = make_answers(2.5, noise=0.5)
    tried, plain = try_map(answers, name), try_map(answers, "none")
    assert plain.nll == pytest.approx(count_loss(answers.mean, answers.labels))
    assert name == "none" or (tried.nll < 0.9 * plain.nll and tried.ece < 0.5 * plain.ece)


def test_confidences_are_judged_on_images_that_they_were_not_fitted_on() -> None:
    """A bias for each class fits 60 images of no pattern well, and others badly."""
    random = np.random.default_rng(3)
    mean = softmax(random.normal(0, 0.1, (60, 30))).astype(np.float32)
    answers = Answers(mean, mean[:, None].repeat(10, 1), random.integers(0, 30, 60))
    name = "temperature and biases"
    seen = count_loss(FITS[name](answers, name).apply(answers.mean, answers.views), answers.labels)
    assert seen < count_loss(mean, answers.labels) < try_map(answers, name).nll


@pytest.mark.parametrize(
    ("better", "chosen"),
    [
        ([], "none"),
        ([TriedMap("a", 0.8, 0.06)], "none"),  # a lower loss, a higher error of calibration
        ([TriedMap("a", 1.1, 0.01)], "none"),
        ([TriedMap("a", 0.7, 0.06), TriedMap("b", 0.9, 0.04), TriedMap("c", 0.8, 0.045)], "c"),
        ([TriedMap("a", 1.0, 0.01)], "none"),  # the same loss
    ],
    ids=["none", "ece rises", "loss rises", "the least loss of those that lower both", "the same"],
)
def test_no_map_is_taken_that_does_not_lower_both(better: list[TriedMap], chosen: str) -> None:
    assert choose_map([TriedMap("none", 1.0, 0.05), *better]) == chosen
