"""SetCoverage: how often the sets of a calibrated model hold the true label, beside the coverage that was asked for."""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from tencrop.common.strict_config import STRICT, Count, Share
from tencrop.evaluation.intervals import Interval
from tencrop.model.calibration import Calibration, hold_true
from tencrop.model.metrics import wilson_interval

if TYPE_CHECKING:  # it needs pyarrow, which readers of summary.json may lack
    from tencrop.evaluation.record_queries import Predictions

SHOWN = (0.8, 0.9, 0.95, 0.99)  # coverages in a terminal


@dataclass(frozen=True, config=STRICT)
class SetCoverage:
    """The share of the images with an answer whose set holds the true label, and its 95 % interval."""

    coverage: Share
    reached: Share
    interval: Interval


@dataclass(frozen=True, config=STRICT)
class SetCoverages:
    """The coverages of a validation. They say little where the model was calibrated `on_these_images`."""

    on_these_images: bool
    images: Count  # that have an answer
    coverages: tuple[SetCoverage, ...]


def measure_sets(calibration: Calibration, images_sha256: str, of: "Predictions") -> SetCoverages:
    """Count the sets that hold the true label among the ten views' answers, at least one.

    images_sha256: `Plan.sha256`.
    """
    right, true = of.right[of.answered], of.true_probability[of.answered]
    found = []
    for threshold in calibration.thresholds:
        reached = float(hold_true(true, right, threshold.probability).mean())
        found.append(SetCoverage(threshold.coverage, reached, wilson_interval(reached, len(true))))
    return SetCoverages(calibration.dataset_sha256 == images_sha256, len(true), tuple(found))
