"""Reference: the source graph as it came, run by onnxruntime at its own batch on inputs that numpy makes by their definition."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tencrop.common.errors import BadInput, one_line
from tencrop.export.importers.graph_rewrite import expose_value, find_softmax_input, find_squashing_operator
from tencrop.export.importers.pixels import PixelTransform
from tencrop.export.importers.source_net import SourceNet
from tencrop.export.importers.source_to_net import SourceInput
from tencrop.images.decode import decode
from tencrop.model.contract import Contract
from tencrop.runtime.onnxruntime_engine import SESSION_LOG_LEVEL

FLOAT_SCORES = "tensor(float)"  # in onnxruntime's words
REPEAT_TOLERANCE = 1e-4  # of the largest score: how far apart two answers to the same images may be
SUM_TOLERANCE = 1e-3  # how far from 1 the sum of an answer's probabilities may be


class SourceAnswers(NamedTuple):
    """What a source says of the ten views of images."""

    images: np.ndarray  # uint8 [N,R,R,3]
    said: np.ndarray  # [N,10,C]
    before: np.ndarray | None  # what went into its softmax, if it has one


@dataclass(frozen=True)
class Reference:
    """Nothing of export/tencrop_graph.py is in it: the views are cut, and their softmaxes averaged, by numpy."""

    source: SourceNet
    source_input: SourceInput
    pixels: PixelTransform
    contract: Contract
    session: Any

    @classmethod
    def of(
        cls, source: SourceNet, source_input: SourceInput, pixels: PixelTransform, contract: Contract
    ) -> "Reference":
        """Raises BadInput where onnxruntime cannot run the file, or its answer is not float."""
        before = find_softmax_input(source.model)
        outputs = [output.name for output in source.model.graph.output]
        model = source.model if before in (None, *outputs) else expose_value(source.model, str(before))
        try:
            session = _session(model.SerializeToString())
        except Exception as error:  # types of the runtime's own; ValueError: beyond 2 GB
            raise BadInput(f"{source.path}: onnxruntime cannot run it: {one_line(error)}") from None
        answer = session.get_outputs()[0].type
        if answer != FLOAT_SCORES:
            raise BadInput(
                f"{source.path}: answers with {answer}; expected a row of float scores for each image, {FLOAT_SCORES} [N,classes]"
            )
        return cls(source, source_input, pixels, contract, session)

    def answer(self, images: np.ndarray) -> SourceAnswers:
        """Of uint8 [N,R,R,3]. Raises BadInput where it fails, or answers with anything but one row of scores an image."""
        views = self.pixels.inputs(images, self.contract)
        crops = views.reshape(-1, *views.shape[2:])
        size = self.source_input.batch or len(self.contract.views)
        padded = np.resize(
            crops, (-(-len(crops) // size) * size, *crops.shape[1:])
        )  # repeats crops to fill the last batch
        try:
            runs = [self._run(padded[start : start + size]) for start in range(0, len(padded), size)]
        except Exception as error:  # types of the runtime's own
            raise BadInput(f"{self.source.path}: onnxruntime cannot run it: {one_line(error)}") from None
        given = self.source.model.graph.output[0].name
        before = [name for name in runs[0] if name != given]
        said = self._rows(runs, given, len(crops)).reshape(*views.shape[:2], -1)
        return SourceAnswers(
            images, said, self._rows(runs, before[0], len(crops)).reshape(said.shape) if before else None
        )

    def _run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {self.source_input.name: batch}), strict=True))

    def _rows(self, runs: list[dict[str, np.ndarray]], name: str, n: int) -> np.ndarray:
        shape = runs[0][name].shape
        flat = [run[name].reshape(run[name].shape[0], -1) for run in runs] if len(shape) > 1 else []
        if (
            not flat
            or shape[0] != (self.source_input.batch or len(self.contract.views))
            or any(side != 1 for side in shape[2:])
            or shape[1] < 2
        ):
            raise BadInput(
                f"{self.source.path}: answers with {list(shape)}; expected a row of scores for each image, [N,classes]"
            )
        return np.concatenate(flat)[:n]

    def check_repeatable(self, answer: SourceAnswers) -> None:
        """Raises BadInput where the source answers the first image in another way than before."""
        first, again = answer.said[:1], self.answer(answer.images[:1]).said
        if np.abs(again - first).max() > REPEAT_TOLERANCE * np.abs(first).max():
            why = "a node of it is random, or a Dropout in training mode; export the net in eval mode"
            raise BadInput(f"{self.source.path}: answers the same image differently each time: {why}")

    def predict(self, png: bytes, output: str) -> np.ndarray:
        """Mean probabilities of an encoded image, [C]: what the probe is made of."""
        pixels, _ = decode(png, self.contract)
        said = self.answer(pixels[None]).said[0]
        return np.asarray((said if output == "probabilities" else softmax(said)).mean(0), np.float32)


def _session(model: bytes) -> Any:
    """onnxruntime with nothing between it and the file: no node is fused or replaced, as engines do to what is compared."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = SESSION_LOG_LEVEL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def detect_output_kind(said: np.ndarray, wanted: str | None, source: SourceNet) -> str:
    """ "probabilities" where every answer adds up to 1, else "logits".

    Raises BadInput where the user said the other, or where nobody said anything and the answers look like neither.
    """
    path, sums = source.path, said.sum(-1)
    if not np.isfinite(said).all():
        raise BadInput(f"{path}: answers with values that are no numbers; check --scale, --mean and --std")
    kind = "probabilities" if said.min() >= 0 and np.abs(sums - 1).max() < SUM_TOLERANCE else "logits"
    added = f"add up to {sums.min():.4g} .. {sums.max():.4g}"
    if wanted not in (None, kind):
        what = (
            "add up to 1: they are probabilities"
            if kind == "probabilities"
            else f"{added} and not to 1: they are no probabilities"
        )
        raise BadInput(f"{path}: --output {wanted}: its answers {what}")
    last = find_squashing_operator(source.model) if wanted is None and kind == "logits" and said.min() >= 0 else None
    if last:
        neither = f"come out of a {last} and {added}: neither logits nor probabilities"
        raise BadInput(
            f"{path}: its answers {neither}; export it up to what goes in there, or say --output logits for a softmax of them"
        )
    return kind


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
