"""Logistic regression on a net's features: scikit-learn's, with a strength that cross-validation chooses."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from tencrop.model.metrics import ErrorCounts, top_k

STRENGTHS = (1.0, 10.0, 100.0, 1e3, 1e4)  # scikit-learn's C, for features whose squares sum to 1 in the mean
FOLDS = 4  # parts of the examples, each held apart once to choose C
STEPS = 500  # of L-BFGS at most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """Features, float32 [n,K], and their classes. Their squares sum to about 1 in the mean, to suit STRENGTHS."""

    features: np.ndarray
    labels: np.ndarray  # int32 [n]

    def select(self, chosen: np.ndarray) -> "Examples":
        """The examples where `chosen`, bool [n], is true."""
        return Examples(self.features[chosen], self.labels[chosen])


@dataclass(frozen=True)
class LinearLayer:
    """Weights [C,K] and biases [C] of a last layer."""

    weight: np.ndarray
    bias: np.ndarray

    def count_errors(self, examples: Examples) -> ErrorCounts:
        """Count the errors."""
        return ErrorCounts.from_top_k(top_k(examples.features @ self.weight.T + self.bias), examples.labels)

    def sum_loss(self, examples: Examples) -> float:
        """The sum of the cross-entropies, in nats."""
        logits = (examples.features @ self.weight.T + self.bias).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        true = logits[np.arange(len(logits)), examples.labels]
        return float((np.log(np.exp(logits).sum(1)) - true).sum())


def choose_strength(examples: Examples) -> float:
    """The one of STRENGTHS with the fewest errors by cross-validation, then with the smaller loss."""
    folds = split_folds(examples.labels)
    wrong, loss = np.zeros(len(STRENGTHS)), np.zeros(len(STRENGTHS))
    for fold in range(FOLDS):
        held = folds == fold
        if held.any():
            apart = examples.select(held)
            layers = fit_layers(examples.select(~held), STRENGTHS)
            wrong += (mistakes := [layer.count_errors(apart).top1_wrong for layer in layers])
            loss += [layer.sum_loss(apart) for layer in layers]
            found = f"{min(mistakes)} to {max(mistakes)} of {held.sum()} images wrong"
            log.info("cross-validation, part %d of %d: %s", fold + 1, FOLDS, found)
    chosen = min(range(len(STRENGTHS)), key=lambda index: (wrong[index], loss[index]))
    log.info("C = %g has the fewest errors in cross-validation: %d", STRENGTHS[chosen], wrong[chosen])
    return STRENGTHS[chosen]


def split_folds(labels: np.ndarray) -> np.ndarray:
    """Split each class into FOLDS parts of neighbours, since the photographs of a series are -> int [n].

    A class's only image is in none of them (-1): without it a fit would lack the class.
    """
    counts = np.bincount(labels)[labels]
    order = np.argsort(labels, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return np.where(counts > 1, place * FOLDS // counts, -1)


def fit_layers(examples: Examples, strengths: Sequence[float]) -> list[LinearLayer]:
    """Fit a layer for each strength C; each one begins where the one before ended."""
    regression = LogisticRegression(max_iter=STEPS, warm_start=True)
    layers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what STEPS leave out changes no choice
        for strength in strengths:
            regression.set_params(C=strength)
            regression.fit(examples.features, examples.labels)
            weight, bias = regression.coef_, regression.intercept_
            if len(weight) == 1:  # two classes: one logit, of the second one against the first
                weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
            layers.append(LinearLayer(weight.astype(np.float32), bias.astype(np.float32)))
    return layers
