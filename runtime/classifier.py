"""Classifier: a tencrop.onnx on an engine that has proven itself on the probe. Server and evaluation both predict with it."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tencrop.common.errors import WorkFailed, one_line
from tencrop.images.decode import decode
from tencrop.model.contract import Contract
from tencrop.model.probe import formula_png
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.engine import Choice, Engine, EngineOptions, choices, open_engine
from tencrop.runtime.nvidia_driver import NoGpu

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Classifier:
    """Ready to answer: what it is (file) and what runs it (engine)."""

    file: TenCropFile
    engine: Engine

    @property
    def name(self) -> str:
        """What requests and reports call it."""
        return self.file.name

    @property
    def contract(self) -> Contract:
        """How images become what the graph takes, and its classes."""
        return self.file.metadata.contract

    @property
    def sha256(self) -> str:
        """Of the file."""
        return self.file.sha256

    @property
    def members(self) -> tuple["Classifier", ...]:
        """Itself alone, where an Ensemble has several."""
        return (self,)

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [N,R,R,3] from `decode` -> (probabilities [N,C], view_probabilities [N,10,C]), float32. One caller at a time."""
        outputs = self.engine.run(images)
        return outputs["probabilities"], outputs["view_probabilities"]

    def prove(self) -> None:
        """Answer the probe through preprocessing and engine. Raises WorkFailed where it comes out wrong."""
        metadata = self.file.metadata
        pixels, _ = decode(formula_png(metadata.probe.seed), metadata.contract)
        missed = metadata.probe.describe_mismatch(self.forward(pixels[None])[0][0], self.engine.precision)
        if missed:
            raise WorkFailed(
                f"{self.name}: {self.engine.name} on {self.engine.device} fails the model's probe: {missed}"
            )


def open_classifier(path: Path, options: EngineOptions) -> Classifier:
    """The first of `choices` that runs the file and answers its probe; what was asked for by name has no second choice.

    A choice that fails before it is logged, but for a GPU on a machine that has none.
    Raises BadInput for a bad file or options, WorkFailed with every choice's failure where none works here.
    """
    possible = choices(options)
    file = TenCropFile.read(path)
    failures: list[WorkFailed] = []
    for choice in possible:
        try:
            classifier = _proven(file, choice)
        except WorkFailed as failure:
            failures.append(failure)
            continue
        if why := dict.fromkeys(str(failure) for failure in failures if not isinstance(failure, NoGpu)):
            log.warning("%s: %s on %s runs it, because %s", file.name, choice.engine, choice.device, "; ".join(why))
        return classifier
    raise WorkFailed("; ".join(dict.fromkeys(map(str, failures))))


def _proven(file: TenCropFile, choice: Choice) -> Classifier:
    classifier = Classifier(file, open_engine(file.graph, choice))
    try:
        classifier.prove()
    except WorkFailed:
        raise
    except Exception as error:  # both runtimes raise types of their own
        raise WorkFailed(f"{file.name}: {choice.engine} on {choice.device} cannot run it: {one_line(error)}") from None
    return classifier
