"""Scores: how far the probabilities of a validation can be believed, in a few numbers."""

from typing import TYPE_CHECKING

import numpy as np
from pydantic.dataclasses import dataclass

from tencrop.common.strict_config import STRICT, Count, NotNegative
from tencrop.evaluation.class_sums import ClassSums
from tencrop.evaluation.reliability import CalibratedEce, Reliability, simulate_calibrated
from tencrop.model.calibration import TINY

if TYPE_CHECKING:  # it needs pyarrow, which readers of summary.json may lack
    from tencrop.evaluation.record_queries import Predictions


@dataclass(frozen=True, config=STRICT)
class Scores:
    """Scores of the probabilities of one kind of prediction, over the images that have an answer."""

    images: Count
    nll: NotNegative  # mean of -ln of the true class's probability
    brier: NotNegative  # mean of the sum over the classes of (probability - truth)^2, at most 2
    ece: NotNegative  # of the first label
    calibrated_ece: CalibratedEce  # of perfectly calibrated nets with as many images and equal probabilities
    classwise_ece: NotNegative  # mean over the model's classes of each class's own
    classwise_brier: NotNegative


@dataclass(frozen=True, config=STRICT)
class ScoresByViews:
    """The scores of each kind of prediction."""

    center: Scores  # of the center crop
    ten_crop: Scores  # of the mean over the ten views


def measure_scores(predictions: "Predictions", sums: ClassSums) -> Scores:
    """Score the probabilities of at least one answer. `sums` are over the same answers."""
    answered = predictions.answered
    probabilities, right = predictions.probabilities[answered, 0], predictions.right[answered]
    true = predictions.true_probability[answered].astype(np.float64)
    return Scores(
        images=len(true),
        nll=max(float(-np.log(np.maximum(true, TINY)).mean()), 0.0),
        brier=float(predictions.brier[answered].mean(dtype=np.float64)),
        ece=Reliability.from_answers(probabilities, right).ece,
        calibrated_ece=simulate_calibrated(probabilities),
        classwise_ece=float(sums.ece().mean()),
        classwise_brier=float(sums.brier().mean()),
    )
