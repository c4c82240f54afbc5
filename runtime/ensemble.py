"""Ensemble: several nets as one, by the mean of their probabilities (section 5 of the paper)."""

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
    def streams(self) -> int: ...  # the number of callers that `forward` serves at once
    @property
    def sha256(self) -> str: ...
    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class Ensemble:
    """Several classifiers of one contract on equal engines.

    Raises BadInput where the contracts differ, WorkFailed where the engines' signatures differ.
    """

    name: str
    members: tuple[Classifier, ...]

    def __post_init__(self) -> None:
        first, *others = self.members
        for other in others:
            if other.contract.sha256 != first.contract.sha256:
                raise BadInput(f"no ensemble of {first.name} and {other.name}: they differ in preprocessing or classes")
            here, there = engine_signature(other.engine), engine_signature(first.engine)
            if here != there:
                raise WorkFailed(
                    f"{other.name} runs on {here} and {first.name} on {there}", "choose one engine for all"
                )

    @property
    def contract(self) -> Contract:
        """The contract that all members share."""
        return self.members[0].contract

    @property
    def engine(self) -> Engine:
        """The first member's engine; all have the same signature."""
        return self.members[0].engine

    @property
    def streams(self) -> int:
        """The number of forward passes of each member that run at once."""
        return self.engine.streams

    @property
    def sha256(self) -> str:
        """The hash of the members' hashes, in their order."""
        return hashlib.sha256("".join(member.sha256 for member in self.members).encode()).hexdigest()

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute as Classifier.forward does, each output being the mean over the members."""
        means, views = zip(*(member.forward(images) for member in self.members), strict=True)
        return np.mean(means, axis=0), np.mean(views, axis=0)


def open_predictor(paths: Sequence[Path], options: EngineOptions) -> Predictor:
    """Open one file as a Classifier, several as an Ensemble. Raises as `open_classifier` and Ensemble do."""
    members = tuple(open_classifier(path, options) for path in paths)
    return members[0] if len(members) == 1 else Ensemble(" + ".join(member.name for member in members), members)
