"""Predictor: what answers images, a Classifier or an Ensemble of several."""

from typing import Protocol

import numpy as np

from tencrop.model.contract import Contract
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.engine import Engine


class Predictor(Protocol):
    """What the two have in common."""

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
    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
