"""CorruptionSummary: the errors of a net under corruptions, and what follows from them. Stored as corruptions.json."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from tencrop.dataset.names_file import WNID
from tencrop.evaluation.corruption.alexnet import ALEXNET
from tencrop.evaluation.corruption.conditions import Condition
from tencrop.evaluation.summary import Summary
from tencrop.images.corruptions.table import FROST, MADE_FROST, SEVERITIES
from tencrop.model.contract import Contract
from tencrop.model.measured_errors import VIEWS, ErrorRates

IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class ConditionErrors:
    """The errors over all images under one condition."""

    condition: Condition
    center: ErrorRates
    ten_crop: ErrorRates

    def to_json(self) -> dict[str, Any]:
        """The form that corruptions.json holds."""
        return {**self.condition._asdict(), "center": asdict(self.center), "ten_crop": asdict(self.ten_crop)}


@dataclass(frozen=True)
class CorruptionSummary:
    """The result of a validation under corruptions. Means are of top-1 errors; `kind` is one of VIEWS.

    made_frost is left out of every mean over corruptions, so that runs with and without it compare.
    """

    clean: Summary  # of the same images, not corrupted
    errors: tuple[ConditionErrors, ...]
    square: int  # pixels; side of the square that was corrupted
    is_imagenet: bool  # whether the classes of model and images are ImageNet's 1,000, for which mCE is defined

    @property
    def corruptions(self) -> list[str]:
        """The names of the corruptions, in the table's order."""
        return list(dict.fromkeys(each.condition.corruption for each in self.errors))

    def by_severity(self, corruption: str) -> list[ConditionErrors]:
        """The errors under a corruption, the mildest severity first."""
        return [each for each in self.errors if each.condition.corruption == corruption]

    def mean_error(self, corruption: str, kind: str) -> float:
        """The mean of the error over the severities of the run."""
        return fmean(getattr(each, kind).top1_error for each in self.by_severity(corruption))

    def mean_increase(self, corruption: str, kind: str) -> float:
        """The mean error less the error on clean images."""
        clean: ErrorRates = getattr(self.clean, kind)
        return self.mean_error(corruption, kind) - clean.top1_error

    def corruption_error(self, corruption: str, kind: str) -> float | None:
        """The corruption error: the mean error as a fraction of AlexNet's. None where it is not defined.

        It takes ImageNet's classes, all five severities, and for frost the authors' photographs.
        """
        is_whole = len(self.by_severity(corruption)) == len(SEVERITIES)
        if not (self.is_imagenet and is_whole and corruption in ALEXNET):
            return None
        return self.mean_error(corruption, kind) / ALEXNET[corruption]

    @property
    def averaged(self) -> list[str]:
        """The corruptions that means over corruptions are of."""
        return [name for name in self.corruptions if name != MADE_FROST]

    def mean_of_means(self, kind: str) -> float:
        """The mean over the corruptions of the mean errors. There is at least one of them."""
        return fmean(self.mean_error(name, kind) for name in self.averaged)

    def mean_of_increases(self, kind: str) -> float:
        """The mean over the corruptions of the increases over the clean error."""
        return fmean(self.mean_increase(name, kind) for name in self.averaged)

    def mce(self, kind: str) -> float | None:
        """The mean of the corruption errors. None where the run lacks one, other than frost's."""
        errors = {name: self.corruption_error(name, kind) for name in self.averaged}
        known = [error for error in errors.values() if error is not None]
        return fmean(known) if {FROST, *errors} == set(ALEXNET) and len(known) == len(errors) else None

    def explain_mce(self) -> str:
        """A sentence that says what the mCE is of, or why there is none."""
        if not self.is_imagenet:
            return (
                "The mCE is not defined here: its divisors are AlexNet's errors on ImageNet's 1,000 classes. "
                "The mean errors stand undivided."
            )
        if self.mce("center") is None:
            return "The mCE takes --corrupt all at every severity."
        missing = set(ALEXNET) - set(self.averaged)
        of = "14 corruptions, without frost, which takes --frost DIR" if missing else "all 15 corruptions"
        return f"The mCE is of {of}. Published ones are by the center crop of ImageNet-C's 224 pixels."

    def to_json(self) -> dict[str, Any]:
        """The form that corruptions.json holds."""
        return {
            "model": self.clean.model.to_json(),
            "dataset": self.clean.dataset,
            "n": self.clean.n,
            "square": self.square,
            "clean": {kind: asdict(getattr(self.clean, kind)) for kind in VIEWS},
            "conditions": [each.to_json() for each in self.errors],
            "corruptions": {name: {kind: self._describe(name, kind) for kind in VIEWS} for name in self.corruptions},
            "mean": {kind: self._describe_means(kind) for kind in VIEWS} if self.averaged else None,
            "mce": {kind: self.mce(kind) for kind in VIEWS},
            "mce_note": self.explain_mce(),
        }

    def _describe(self, corruption: str, kind: str) -> dict[str, float | None]:
        return {
            "mean_error": self.mean_error(corruption, kind),
            "mean_increase": self.mean_increase(corruption, kind),
            "corruption_error": self.corruption_error(corruption, kind),
        }

    def _describe_means(self, kind: str) -> dict[str, float]:
        return {"mean_error": self.mean_of_means(kind), "mean_increase": self.mean_of_increases(kind)}


def has_imagenet_classes(contract: Contract, classes: Sequence[int]) -> bool:
    """Return whether the model has 1,000 classes with wnids, and the images with these labels have all of them."""
    wnids = [label for label in contract.labels if WNID.fullmatch(label.id)]
    return len(contract.labels) == len(wnids) == len(set(classes)) == IMAGENET_CLASSES
