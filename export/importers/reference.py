"""SourceReference: the unmodified source graph in onnxruntime, at its own batch size, to compare an import with."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tencrop.common.errors import BadInput, whole_line
from tencrop.export.importers.any_batch import Trial
from tencrop.export.importers.graph_rewrite import (
    expose_value,
    find_softmax_input,
    find_squashing_operator,
    find_tensor,
)
from tencrop.export.importers.pixels import PixelTransform, cut_ten_views
from tencrop.export.importers.source_input import SourceInput
from tencrop.export.importers.source_net import SourceNet
from tencrop.export.parity_gate import ExpectedAnswers, softmax
from tencrop.export.session import open_session
from tencrop.images.decode import decode
from tencrop.model.contract import CENTER_VIEW, Contract

FLOAT_SCORES = "tensor(float)"  # onnxruntime's name of the type
REPEAT_TOLERANCE = 1e-4  # difference between two answers to the same image, relative to the largest score
SUM_TOLERANCE = 1e-3  # difference between 1 and the sum of probabilities
CENTER_ALONE = slice(CENTER_VIEW, CENTER_VIEW + 1)


class SourceAnswers(NamedTuple):
    """The source's answers to the ten views of N images."""

    images: np.ndarray  # uint8 [N,R,R,3]
    scores: np.ndarray  # [N,10,C]
    softmax_input: np.ndarray | None  # [N,10,C], where the scores come out of a softmax


@dataclass(frozen=True)
class SourceReference:
    """The source on its own inputs. numpy cuts the views and averages; no code of export/tencrop_graph.py is used."""

    source: SourceNet
    source_input: SourceInput
    pixels: PixelTransform
    contract: Contract
    session: Any

    @classmethod
    def open(
        cls, source: SourceNet, source_input: SourceInput, pixels: PixelTransform, contract: Contract
    ) -> "SourceReference":
        """Open the source graph in onnxruntime. Raises BadInput where that fails, or where the output is not float."""
        softmax_input = find_softmax_input(source.model)
        outputs = [output.name for output in source.model.graph.output]
        model = source.model if softmax_input in (None, *outputs) else expose_value(source.model, str(softmax_input))
        try:
            session = open_session(model.SerializeToString())
        except Exception as error:  # types of the runtime's own; ValueError: beyond 2 GB
            raise BadInput(f"{source.path}: onnxruntime cannot run it: {whole_line(error)}") from None
        kind = session.get_outputs()[0].type
        if kind != FLOAT_SCORES:
            raise BadInput(
                f"{source.path}: answers with {kind}; "
                f"expected a row of float scores for each image, {FLOAT_SCORES} [N,classes]"
            )
        if not source_input.batch and not _takes_batch(session, source_input, 2):
            source_input = replace(source_input, batch=int(_takes_batch(session, source_input, 1)))
        return cls(source, source_input, pixels, contract, session)

    def answer(self, images: np.ndarray) -> SourceAnswers:
        """Answer uint8 [N,R,R,3].

        Raises BadInput where the run fails, or returns anything but a row of scores for each image.
        """
        views = self.pixels.make_inputs(images, self.contract)
        crops = views.reshape(-1, *views.shape[2:])
        size = self.source_input.batch or len(self.contract.views)
        batches = -(-len(crops) // size)
        padded = np.resize(crops, (batches * size, *crops.shape[1:]))  # repeats crops to fill the last batch
        try:
            runs = [self._run(padded[start : start + size]) for start in range(0, len(padded), size)]
        except Exception as error:  # types of the runtime's own
            raise BadInput(f"{self.source.path}: onnxruntime cannot run it: {whole_line(error)}") from None
        output = self.source.model.graph.output[0].name
        exposed = [name for name in runs[0] if name != output]
        scores = self._join_rows(runs, output, len(crops)).reshape(*views.shape[:2], -1)
        inputs = self._join_rows(runs, exposed[0], len(crops)).reshape(scores.shape) if exposed else None
        return SourceAnswers(images, scores, inputs)

    def check_repeatable(self, answers: SourceAnswers) -> None:
        """Run the first image again. Raises BadInput where the source answers differently from before."""
        first, again = answers.scores[:1], self.answer(answers.images[:1]).scores
        if np.abs(again - first).max() > REPEAT_TOLERANCE * np.abs(first).max():
            raise BadInput(
                f"{self.source.path}: answers the same image differently each time: "
                "a node is random, or a Dropout is in training mode",
                "export the net in eval mode",
            )

    def make_trial(self, answers: SourceAnswers, output: str) -> Trial:
        """The ten views of the first image, and the answers that net.onnx is made to give."""
        scores = self._choose_logits(answers, output)
        inputs = self.pixels.make_inputs(answers.images[:1], self.contract)[0]
        return Trial(inputs, (answers.scores if scores is None else scores)[0])

    def expect(self, answers: SourceAnswers, output: str) -> ExpectedAnswers:
        """The answers for the parity gate, which compares net.onnx on the center view."""
        planes = answers.images.transpose(0, 3, 1, 2).astype(np.float32)
        logits = self._choose_logits(answers, output)
        return ExpectedAnswers(
            name=str(self.source.path),
            images=answers.images,
            distinct=len(answers.images),
            crops=cut_ten_views(planes, self.pixels.rgb_mean, self.contract)[:, CENTER_ALONE],
            views=CENTER_ALONE,
            logits=None if logits is None else logits[:, CENTER_ALONE],
            probabilities=to_probabilities(answers.scores, output),
            description=self.source.reference,
        )

    def predict(self, png: bytes, output: str) -> np.ndarray:
        """Mean probabilities of an encoded image, float32 [C], for the probe."""
        pixels, _ = decode(png, self.contract)
        return np.asarray(to_probabilities(self.answer(pixels[None]).scores[0], output).mean(0), np.float32)

    def _choose_logits(self, answers: SourceAnswers, output: str) -> np.ndarray | None:
        return answers.scores if output == "logits" else answers.softmax_input

    def _run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {self.source_input.name: batch}), strict=True))

    def _join_rows(self, runs: list[dict[str, np.ndarray]], name: str, n: int) -> np.ndarray:
        """One output of all runs, [n,C]. Raises BadInput where it is no row of scores an image."""
        shape, size = runs[0][name].shape, self.source_input.batch or len(self.contract.views)
        if len(shape) < 2 or shape[0] != size or any(side != 1 for side in shape[2:]) or shape[1] < 2:
            raise BadInput(
                f"{self.source.path}: answers with {list(shape)}; "
                "expected a row of two or more scores for each image, [N,classes]"
            )
        return np.concatenate([run[name].reshape(len(run[name]), -1) for run in runs])[:n]


def _takes_batch(session: Any, source_input: SourceInput, size: int) -> bool:
    """Return whether the graph answers so many images, and each by itself."""
    images = np.zeros((size, *source_input.sides[1:]), np.float32)
    try:
        answer = session.run(None, {source_input.name: images})[0]
    except Exception:  # types of the runtime's own
        return False
    return bool(answer.shape[:1] == (size,))


def detect_output_kind(scores: np.ndarray, wanted: str | None, source: SourceNet) -> str:
    """Return "probabilities" where every row adds up to 1, else "logits".

    Raises BadInput where the user wants the other kind, or where the scores look like neither and the user states none.
    """
    path = source.path
    if not np.isfinite(scores).all():
        infinite = find_tensor(source.model, np.isinf)
        also = f"{infinite!r}, which holds infinities, and " if infinite is not None else ""
        raise BadInput(f"{path}: answers with values that are no numbers", f"check {also}--scale, --mean and --std")
    is_positive, sums = scores.min() >= 0, scores.sum(-1)
    kind = "probabilities" if is_positive and np.abs(sums - 1).max() < SUM_TOLERANCE else "logits"
    added = f"add up to {sums.min():.4g} .. {sums.max():.4g}"
    if wanted is None and kind == "logits" and is_positive:
        last = find_squashing_operator(source.model)
        if last:
            raise BadInput(
                f"{path}: its answers come out of a {last} and {added}: neither logits nor probabilities",
                f"export it up to the input of the {last}, or give --output logits for a softmax of the answers",
            )
    if wanted == "logits" and kind == "probabilities":
        raise BadInput(f"{path}: --output logits: its answers add up to 1: they are probabilities")
    if wanted == "probabilities" and kind == "logits":
        raise BadInput(f"{path}: --output probabilities: its answers {added} and not to 1: they are no probabilities")
    return kind


def to_probabilities(scores: np.ndarray, output: str) -> np.ndarray:
    """The probabilities of scores that are "logits" or "probabilities"."""
    return scores if output == "probabilities" else softmax(scores)
