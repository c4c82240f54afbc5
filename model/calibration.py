"""Calibration: how sure a model's answers are, as `tencrop calibrate` measured it and stored it in tencrop.onnx."""

from functools import cached_property
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import STRICT, Count, Finite, NotNegative, Positive, Share

NO_MAP = "none"
TINY = float(np.finfo(np.float32).tiny)  # stands for probabilities of 0, which have no logarithm
COMMAND = "tencrop calibrate MODEL DATA --out MODEL2"


@dataclass(frozen=True, config=STRICT)
class ConfidenceMap:
    """A map from probabilities to confidences, which are frequencies: of answers with confidence 0.8, 0.8 are right.

    The logarithms are divided by `temperature` (Guo et al., ICML 2017) and `biases` are added, one for each class
    (Alexandari et al., ICML 2020): to the mean over the views or, with `of_views`, to each view before the mean. Then
    `knots` map each class, linear between them (Zhang et al., ICML 2020). The confidences of an image add up to 1.
    Raises BadInput where the knots do not rise.
    """

    name: str
    temperature: Positive = 1.0
    of_views: bool = False
    biases: tuple[Finite, ...] = ()
    knots: tuple[tuple[NotNegative, NotNegative], ...] = ()  # probability and frequency, both rising

    def __post_init__(self) -> None:
        if self.knots and not (np.diff(np.array(self.knots), axis=0) > 0).all():
            raise BadInput("the knots of the confidence do not rise")

    @cached_property
    def _bias_array(self) -> np.ndarray:
        return np.array(self.biases, np.float32)

    @cached_property
    def _knot_arrays(self) -> np.ndarray:
        return np.array(self.knots).T  # [2,knots]

    def apply(self, probabilities: np.ndarray, view_probabilities: np.ndarray) -> np.ndarray:
        """Probabilities [...,C] and those of the views [...,10,C] -> confidences [...,C] of the same type."""
        if self.name == NO_MAP:
            return probabilities
        logs = np.log(np.maximum(view_probabilities if self.of_views else probabilities, TINY))
        logs /= self.temperature
        if self.biases:
            logs += self._bias_array
        found = np.exp(logs - logs.max(-1, keepdims=True))
        found /= found.sum(-1, keepdims=True)
        if self.of_views:
            found = found.mean(-2)
        if self.knots:
            found = np.interp(found, *self._knot_arrays).astype(found.dtype)
            found /= found.sum(-1, keepdims=True)
        return np.asarray(found)


@dataclass(frozen=True, config=STRICT)
class TriedMap:
    """A map that was tried, and how well it does on images that it was not fitted on."""

    name: str
    nll: NotNegative  # negative log-likelihood of the true class, nats an image
    ece: NotNegative  # expected calibration error of the answer, 15 bins


@dataclass(frozen=True, config=STRICT)
class Threshold:
    """The labels of probability >= `probability` hold the true one with a probability of `coverage` or more."""

    coverage: Share
    probability: Share


@dataclass(frozen=True, config=STRICT)
class Calibration:
    """The confidences and sets of labels of one model, measured on `n` images by this engine and precision.

    `dataset_sha256` is the hash of the images' ids and true classes (`Plan.sha256`).
    """

    map: ConfidenceMap
    thresholds: tuple[Threshold, ...]  # the lowest coverage first
    tried: tuple[TriedMap, ...]
    dataset: str  # name of the data set's folder
    dataset_sha256: str
    n: Count
    engine: str
    precision: str

    @property
    def coverages(self) -> tuple[float, ...]:
        """The coverages that there are sets for."""
        return tuple(threshold.coverage for threshold in self.thresholds)

    def describe(self) -> dict[str, Any]:
        """The map's name, and what the model was calibrated on and by."""
        names = ("dataset", "dataset_sha256", "n", "engine", "precision")
        return {"map": self.map.name, **{name: getattr(self, name) for name in names}}


def find_threshold(calibration: Calibration | None, coverage: float, model: str) -> float:
    """The lowest probability of a label in a set of this coverage.

    Raises BadInput that names the command where the model is not calibrated, and what there is for another coverage.
    """
    if calibration is None:
        raise BadInput(f"coverage: {model} is not calibrated; `{COMMAND}` makes a file that is")
    found = [threshold.probability for threshold in calibration.thresholds if threshold.coverage == coverage]
    if not found:
        known = ", ".join(f"{each:g}" for each in calibration.coverages)
        raise BadInput(f"coverage {coverage}: {model} is calibrated for {known}")
    return found[0]


def hold_true(true_probabilities: np.ndarray, is_first: np.ndarray, threshold: float) -> np.ndarray:
    """Find the sets that hold the true label, bool [n].

    true_probabilities: of the true labels, [n]; is_first: whether the true label is the most probable one, bool [n].
    """
    return np.asarray(is_first | (true_probabilities >= threshold))


def count_set(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Number of labels of each set, int64 [...]: the most probable ones of [...,C]. The first is always in it."""
    return np.asarray(np.maximum(1, (probabilities >= threshold).sum(-1)))
