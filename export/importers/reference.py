"""Reference: the source graph as it came, run by onnxruntime at its own batch on inputs that numpy makes by their definition."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from export.importers.classifier import Shape
from export.importers.graphs import softmax_input, with_output
from export.importers.onnx_file import one_line
from export.importers.pixels import Pixels
from export.importers.source import Source
from model.contract import Contract
from model.engine import Choice, Engine, open_engine
from model.errors import BadInput, WorkFailed
from model.preprocess import decode

RUNTIME = Choice("onnxruntime", "cpu", "fp32")
ONE = 1e-3  # how far from 1 the sum of an answer's probabilities may be


@dataclass(frozen=True)
class Reference:
    """Nothing of export/pipeline.py is in it: the views are cut, and their softmaxes averaged, by numpy."""

    source: Source
    shape: Shape
    pixels: Pixels
    contract: Contract
    engine: Engine

    @classmethod
    def of(cls, source: Source, shape: Shape, pixels: Pixels, contract: Contract) -> "Reference":
        """Raises BadInput where onnxruntime cannot run the file."""
        before = softmax_input(source.model)
        outputs = [output.name for output in source.model.graph.output]
        model = source.model if before in (None, *outputs) else with_output(source.model, str(before))
        try:
            return cls(source, shape, pixels, contract, open_engine(model.SerializeToString(), RUNTIME))
        except (WorkFailed, ValueError) as error:  # ValueError: beyond 2 GB
            raise BadInput(f"{source.path}: {one_line(error)}") from None

    def answers(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 [N,R,R,3] -> what the source says of every view, [N,10,C], and what went into its softmax, if it has one.

        Raises BadInput where it fails, or answers with anything but one row of scores an image.
        """
        views = self.pixels.inputs(images, self.contract)
        crops = views.reshape(-1, *views.shape[2:])
        size = self.shape.batch or len(self.contract.views)
        padded = np.resize(crops, (-(-len(crops) // size) * size, *crops.shape[1:]))  # repeats crops to fill the last batch
        try:
            runs = [self.engine.run(padded[start : start + size]) for start in range(0, len(padded), size)]
        except Exception as error:  # types of the runtime's own
            raise BadInput(f"{self.source.path}: onnxruntime cannot run it: {one_line(error)}") from None
        given = self.source.model.graph.output[0].name
        before = [name for name in runs[0] if name != given]
        said = self._rows(runs, given, len(crops)).reshape(*views.shape[:2], -1)
        return said, self._rows(runs, before[0], len(crops)).reshape(said.shape) if before else None

    def _rows(self, runs: list[dict[str, np.ndarray]], name: str, n: int) -> np.ndarray:
        shape = runs[0][name].shape
        flat = [run[name].reshape(run[name].shape[0], -1) for run in runs] if len(shape) > 1 else []
        if not flat or shape[0] != (self.shape.batch or len(self.contract.views)) or any(side != 1 for side in shape[2:]) or shape[1] < 2:
            raise BadInput(f"{self.source.path}: answers with {list(shape)}; expected a row of scores for each image, [N,classes]")
        return np.concatenate(flat)[:n]

    def predict(self, png: bytes, output: str) -> np.ndarray:
        """Mean probabilities of an encoded image, [C]: what the probe is made of."""
        pixels, _ = decode(png, self.contract)
        said, _ = self.answers(pixels[None])
        return np.asarray((said if output == "probabilities" else softmax(said))[0].mean(0), np.float32)


def kind_of_output(said: np.ndarray, wanted: str | None, path: Any) -> str:
    """ "probabilities" where every answer adds up to 1, else "logits". Raises BadInput where the user said the other."""
    if not np.isfinite(said).all():
        raise BadInput(f"{path}: answers with values that are no numbers; check --scale, --mean and --std")
    kind = "probabilities" if said.min() >= 0 and np.abs(said.sum(-1) - 1).max() < ONE else "logits"
    if wanted not in (None, kind):
        what = "add up to 1: they are probabilities" if kind == "probabilities" else "do not add up to 1: they are no probabilities"
        raise BadInput(f"{path}: --output {wanted}: its answers {what}")
    return kind


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
