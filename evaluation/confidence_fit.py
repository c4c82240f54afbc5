"""Fits the maps from probabilities to confidences, and chooses one by the likelihood of images it was not fitted on."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tencrop.evaluation.reliability import Reliability
from tencrop.model.calibration import NO_MAP, TINY, ConfidenceMap, TriedMap

FOLDS = 5
SEED = 2012
LOG_TEMPERATURES = (-3.0, 3.0)  # 0.05 to 20


class Answers(NamedTuple):
    """The net's answers to n images, and their true classes."""

    mean: np.ndarray  # float32 [n,C]
    views: np.ndarray  # float32 [n,10,C]
    labels: np.ndarray  # int64 [n]

    def select(self, rows: np.ndarray) -> "Answers":
        """Select the images where `rows`, bool [n], is True."""
        return Answers(self.mean[rows], self.views[rows], self.labels[rows])

    def judge_first(self) -> tuple[np.ndarray, np.ndarray]:
        """The probability of each true label, [n], and whether it is the most probable label, bool [n]."""
        return self.mean[np.arange(len(self.labels)), self.labels], self.mean.argmax(1) == self.labels


def count_loss(confidences: np.ndarray, labels: np.ndarray) -> float:
    """The mean negative log-likelihood of the true classes, in nats, from confidences [n,C]."""
    true = np.take_along_axis(confidences, labels[:, None], axis=1)
    return float(-np.log(np.maximum(true, TINY), dtype=np.float64).mean())


def fit_temperature(answers: Answers, name: str, of_views: bool) -> ConfidenceMap:
    """Find the temperature of the least negative log-likelihood."""
    from scipy.optimize import minimize_scalar  # half a second, and only this command needs it

    def loss(log_temperature: float) -> float:
        tried = ConfidenceMap(name, temperature=float(np.exp(log_temperature)), of_views=of_views)
        return count_loss(tried.apply(answers.mean, answers.views), answers.labels)

    found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-3})
    return ConfidenceMap(name, temperature=float(np.exp(found.x)), of_views=of_views)


def fit_biases(answers: Answers, name: str) -> ConfidenceMap:
    """Find a temperature and a bias for each class. A standard normal prior holds the biases of rare classes at 0."""
    from scipy.optimize import minimize

    n, classes = answers.mean.shape
    logs = np.log(np.maximum(answers.mean, TINY)).astype(np.float64)
    true = np.zeros((n, classes))
    true[np.arange(n), answers.labels] = 1

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = logs * x[0] + x[1:]
        scaled -= scaled.max(1, keepdims=True)
        total = np.log(np.exp(scaled).sum(1, keepdims=True))
        wrong = np.exp(scaled - total) - true
        slope = np.concatenate([[(wrong * logs).sum()], wrong.sum(0) + x[1:]])
        return float(-((scaled - total) * true).sum() + (x[1:] ** 2).sum() / 2) / n, slope / n

    low, high = np.exp(LOG_TEMPERATURES)
    bounds = [(1 / high, 1 / low), *[(None, None)] * classes]
    found = minimize(loss, np.array([1.0, *np.zeros(classes)]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return ConfidenceMap(name, temperature=float(1 / found[0]), biases=tuple(found[1:].tolist()))


def fit_isotonic(answers: Answers, name: str) -> ConfidenceMap:
    """Find the rising steps from the probability of any class to the share of images that are of the class.

    Pool-adjacent-violators over all n * C pairs. A pair that is no hit joins the block of the hit below it, so the
    blocks begin with one for each probability of a hit. Knots stand at the mean probability and share of each block.
    The map is linear between them, and from (0, 0) to the first one.
    """
    pairs = np.sort(answers.mean, axis=None)
    hits = np.sort(np.take_along_axis(answers.mean, answers.labels[:, None], axis=1), axis=None)
    starts, counts = np.unique(np.searchsorted(pairs, hits), return_counts=True)
    sums = np.add.reduceat(pairs.astype(np.float64), starts)
    sizes = np.diff([*starts.tolist(), len(pairs)])
    blocks: list[tuple[float, float, float]] = []  # hits, pairs, sum of their probabilities
    for found in zip(counts.tolist(), sizes.tolist(), sums.tolist(), strict=True):
        hit, size, total = found
        while blocks and blocks[-1][0] * size >= hit * blocks[-1][1]:
            hit_before, size_before, total_before = blocks.pop()
            hit, size, total = hit + hit_before, size + size_before, total + total_before
        blocks.append((hit, size, total))
    knots = ((total / size, hit / size) for hit, size, total in blocks if total)
    return ConfidenceMap(name, knots=((0.0, 0.0), *knots))


FITS: Mapping[str, Callable[[Answers, str], ConfidenceMap]] = {
    NO_MAP: lambda _, name: ConfidenceMap(name),
    "temperature of the mean": lambda answers, name: fit_temperature(answers, name, of_views=False),
    "temperature of each view": lambda answers, name: fit_temperature(answers, name, of_views=True),
    "temperature and biases": fit_biases,
    "isotonic": fit_isotonic,
}


def try_map(answers: Answers, name: str) -> TriedMap:
    """Fit a map on four fifths of the images and apply it to the rest, five times; judge it on all images together."""
    fold = np.random.default_rng(SEED).permutation(len(answers.labels)) % FOLDS
    found = np.empty_like(answers.mean)
    for number in range(FOLDS):
        kept = fold == number
        fitted = FITS[name](answers.select(~kept), name)
        found[kept] = fitted.apply(answers.mean[kept], answers.views[kept])
    return judge(answers, found, name)


def judge(answers: Answers, confidences: np.ndarray, name: str) -> TriedMap:
    """The measures of confidences [n,C]. The answer is the most probable label, whatever its confidence is."""
    _, right = answers.judge_first()
    stated = confidences[np.arange(len(right)), answers.mean.argmax(1)]
    ece = Reliability.from_answers(stated, right).ece
    return TriedMap(name, count_loss(confidences, answers.labels), ece)


def choose_map(tried: Sequence[TriedMap]) -> str:
    """The name of the map with the least loss, of those that lower both the loss and the ECE; else that of no map."""
    plain = next(each for each in tried if each.name == NO_MAP)
    better = [each for each in tried if each.nll < plain.nll and each.ece < plain.ece]
    return min(better, key=lambda each: each.nll).name if better else NO_MAP
