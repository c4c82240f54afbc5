"""Ensemble: several nets as one classifier, the mean of their probabilities (section 5 of the paper; the 2012 program's too)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.model.contract import Contract
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine import Engine, engine_signature
from tencrop.runtime.engine_choice import EngineOptions


class Predictor(Protocol):
    """A Classifier or an Ensemble: what serving and evaluating need of either."""

    @property
    def name(self) -> str: ...
    @property
    def members(self) -> tuple[Classifier, ...]: ...
    @property
    def contract(self) -> Contract: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def sha256(self) -> str: ...
    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class Ensemble:
    """Nets that see the same images and name the same classes.

    Raises BadInput where they do not, WorkFailed where they run at different precisions.
    """

    name: str
    members: tuple[Classifier, ...]

    def __post_init__(self) -> None:
        first, *others = self.members
        for other in others:
            if other.contract.sha256 != first.contract.sha256:
                raise BadInput(
                    f"{other.name} takes other images or names other classes than {first.name}: no ensemble of these two"
                )
            here, there = engine_signature(other.engine), engine_signature(first.engine)
            if here != there:
                raise WorkFailed(f"{other.name} runs on {here} and {first.name} on {there}; choose one engine for all")

    @property
    def contract(self) -> Contract:
        """Of every member."""
        return self.members[0].contract

    @property
    def engine(self) -> Engine:
        """What runs the first member; all are run alike."""
        return self.members[0].engine

    @property
    def sha256(self) -> str:
        """Of the members' own, in their order."""
        return hashlib.sha256("".join(member.sha256 for member in self.members).encode()).hexdigest()

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As Classifier.forward: the means over the members, of each view and of the ten. float32."""
        means, views = zip(*(member.forward(images) for member in self.members), strict=True)
        return np.mean(means, axis=0), np.mean(views, axis=0)


def open_predictor(paths: Sequence[Path], options: EngineOptions) -> Predictor:
    """The one model of these files, or the ensemble of several. Raises as `open_classifier` and Ensemble do."""
    members = tuple(open_classifier(path, options) for path in paths)
    return members[0] if len(members) == 1 else Ensemble(" + ".join(member.name for member in members), members)
