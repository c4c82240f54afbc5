"""training/logistic_regression.py: the fits are scikit-learn's, and cross-validation chooses among them."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from tencrop.training.logistic_regression import STRENGTHS, Examples, choose_strength, fit_layers, split_folds


def make_examples(classes: int, count: int, seed: int, spread: float = 1) -> Examples:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centers = np.random.default_rng(0).normal(0, 1, (classes, 20))
    features = (centers[labels] + random.normal(0, spread, (count, 20))) / 5
    return Examples(features.astype(np.float32), labels.astype(np.int32))


@pytest.mark.parametrize("classes", [2, 4])
def test_larger_strengths_fit_better(classes: int) -> None:
    training = make_examples(classes, 80, 1)
    layers = fit_layers(training, STRENGTHS)
    assert layers[0].weight.shape == (classes, 20)
    losses = [layer.sum_loss(training) / 80 for layer in layers]
    assert losses == sorted(losses, reverse=True) and losses[0] < np.log(classes)


@pytest.mark.parametrize("factor", [1, 0.01])
@pytest.mark.parametrize("seed", range(3))
def test_the_strength_has_the_fewest_errors_in_cross_validation(seed: int, factor: float) -> None:
    made = make_examples(4, 120, seed, spread=1.5)
    examples = replace(made, features=made.features * np.float32(factor))
    parts = PredefinedSplit(split_folds(examples.labels))
    guesses = [
        cross_val_predict(LogisticRegression(C=strength, max_iter=5000), examples.features, examples.labels, cv=parts)
        for strength in STRENGTHS
    ]
    wrong = [(guess != examples.labels).sum() for guess in guesses]
    # The chosen fit began where another ended, so it may stop one image apart.
    assert wrong[STRENGTHS.index(choose_strength(examples))] <= min(wrong) + 1 < max(wrong), wrong


def test_folds_are_neighbours_of_one_class_and_leave_an_only_image_in() -> None:
    labels = np.array([3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1])
    folds = split_folds(labels)
    assert folds[labels == 0].tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert folds[labels == 1].tolist() == [0, 2]
    assert folds[labels == 2] == folds[labels == 3] == -1
    assert choose_strength(Examples(np.eye(3, dtype=np.float32), np.arange(3))) in STRENGTHS
