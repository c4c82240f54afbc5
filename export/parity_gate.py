"""The parity gate: net.onnx and tencrop.onnx on every CPU engine, against the reference that they were made from."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Annotated, Any

import numpy as np
import onnx
from pydantic.dataclasses import dataclass

from tencrop.common.errors import WorkFailed, whole_line
from tencrop.common.strict_config import STRICT, dump, left_out
from tencrop.model.tencropfile import OUTPUTS
from tencrop.runtime.engine import Engine, open_engine
from tencrop.runtime.engine_choice import EngineChoice

BATCHES = (1, 2, 5)  # images in a batch
ENGINES = (EngineChoice("onnxruntime", "cpu", "fp32"), EngineChoice("openvino", "cpu", "fp32"))
FORBIDDEN_OPERATORS = ("Dropout", "Shape", "Size", "NonZero")  # leftovers of a careless export
TINY = float(np.finfo(np.float32).tiny)  # stands for 0 where 0 has no quotient and no logarithm

log = logging.getLogger(__name__)


class EngineRefused(WorkFailed):
    """An engine cannot open one of the files, or not run it at some batch size."""


@dataclass(frozen=True, config=STRICT)
class Limits:
    """The largest differences that pass: of a logit, relative to the largest logit, and of a probability."""

    logits_relative: float  # also of the features, relative to the largest one
    probabilities: float


EXACT_LIMITS = Limits(1e-4, 1e-4)
INT8_LIMITS = Limits(0.1, 0.25)  # for a net whose fp32 form has passed EXACT_LIMITS: only the rounding is judged


@dataclass(frozen=True, config=STRICT)
class ParityRow:
    """The differences between one engine and the reference at one batch size: a row of parity.json."""

    engine: str
    batch: int
    logits_relative: float
    probabilities: float
    top1_agreement: float
    features_relative: Annotated[float | None, left_out(None)] = None  # of a file with features

    def check(self, limits: Limits, reference: str, advice: str) -> None:
        """Compare the differences with their limits. Raises WorkFailed where one is larger."""
        for file, difference, allowed in (
            ("net.onnx", self.logits_relative, limits.logits_relative),
            ("tencrop.onnx", self.probabilities, limits.probabilities),
            ("features of tencrop.onnx", self.features_relative, limits.logits_relative),
        ):
            if difference is not None and not difference <= allowed:  # NaN fails too
                by = f"{difference:.1e} (allowed {allowed:.0e})"
                raise WorkFailed(
                    f"parity: {self.engine} at batch {self.batch}: {file} differs from {reference} by {by}", advice
                )


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Parity:
    """The content of parity.json, its keys in this order. A key whose value is None is left out of the file."""

    reference: str | None = None  # of an imported net: what it was compared with
    images: int
    limits: Limits
    lrn_nodes: int
    largest_before_lrn: Mapping[str, float] | None = None  # onnxruntime's LRN loses digits where activations exceed 1e4
    compared: tuple[ParityRow, ...]
    calibrated_on: int | None = None  # of an int8 net: number of photographs
    before_int8: tuple[ParityRow, ...] | None = None  # of an int8 net: the rows of its fp32 form

    def to_json(self) -> dict[str, Any]:
        """Plain data for parity.json."""
        return {key: value for key, value in dump(self).items() if value is not None}

    def format(self) -> str:
        """A table for a person."""
        lines = [f"{'engine':<12} {'images':>6} {'logits, relative':>17} {'probabilities':>14} {'top-1 agrees':>13}"]
        for row in self.compared:
            differences = f"{row.logits_relative:>17.1e} {row.probabilities:>14.1e}"
            lines.append(f"{row.engine:<12} {row.batch:>6} {differences} {row.top1_agreement:>13.0%}")
        features = [row.features_relative for row in self.compared if row.features_relative is not None]
        if features:
            lines.append(f"features differ by {max(features):.1e} of the largest one at most")
        largest = ", ".join(f"{value:.0f} before {name}" for name, value in (self.largest_before_lrn or {}).items())
        lines.append(f"{self.lrn_nodes} LRN nodes" + (f"; largest activation {largest}" if largest else ""))
        return "\n".join(lines)


@plain_dataclass(frozen=True)
class ExpectedAnswers:
    """The reference's answers to N = max(BATCHES) images, for both files.

    net.onnx is compared on V views of each image: the ten of the contract, or the center alone.
    """

    name: str  # of the reference, for messages
    images: np.ndarray  # uint8 [N,R,R,3]
    distinct: int  # number of different images among the N
    crops: np.ndarray  # float32 [N,V,3,crop,crop], the mean subtracted: the input of net.onnx
    views: slice  # the V views among the ten
    logits: np.ndarray | None  # [N,V,C]; None where the reference has probabilities only
    probabilities: np.ndarray  # [N,10,C]
    lrn_nodes: int | None = None  # number that net.onnx must have; None where any number is right
    largest_before_lrn: Mapping[str, float] | None = None
    description: str | None = None  # of the reference, for parity.json
    features: Mapping[str, np.ndarray] = field(default_factory=dict)  # [N,10,K], by the layers of LAYERS


def check_parity(
    net: onnx.ModelProto,
    tencrop: onnx.ModelProto,
    expected: ExpectedAnswers,
    limits: Limits = EXACT_LIMITS,
    advice: str = "",
) -> Parity:
    """Run both files on every engine at every batch size and compare the answers.

    Raises WorkFailed, with `advice`, at the first difference beyond the limits, EngineRefused where an engine fails.
    """
    found = Counter(node.op_type for node in net.graph.node)
    if expected.lrn_nodes is not None:
        check_structure(found, expected.lrn_nodes)
    rows = []
    for row in _compare(net, tencrop, expected):
        row.check(limits, expected.name, advice)
        rows.append(row)
    return Parity(
        reference=expected.description,
        images=expected.distinct,
        limits=limits,
        lrn_nodes=found["LRN"],
        largest_before_lrn=expected.largest_before_lrn,
        compared=tuple(rows),
    )


def check_structure(operators: Counter[str], lrn_nodes: int) -> None:
    """Check the operators of net.onnx.

    Raises WorkFailed where the number of LRN nodes differs from the recipe's, and for leftovers of a careless export.
    """
    if operators["LRN"] != lrn_nodes:
        raise WorkFailed(f"parity: net.onnx has {operators['LRN']} LRN nodes, its recipe {lrn_nodes}")
    for operator in FORBIDDEN_OPERATORS:
        if operators[operator]:
            raise WorkFailed(f"parity: net.onnx has a {operator} node")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _compare(net: onnx.ModelProto, tencrop: onnx.ModelProto, expected: ExpectedAnswers) -> Iterator[ParityRow]:
    for choice in ENGINES:
        log.info("comparing %s with %s", choice.engine, expected.name)
        crop_engine, image_engine = _open(net, choice), _open(tencrop, choice)
        for size in BATCHES:
            crops = np.ascontiguousarray(expected.crops[:size].reshape(-1, *expected.crops.shape[2:]))
            logits = _run(crop_engine, crops, size)["logits"]
            answers = _run(image_engine, expected.images[:size], size)
            mean, views = (answers.pop(name) for name in OUTPUTS)
            want = expected.probabilities[:size]
            want_mean = want.mean(1)
            differences = np.abs(mean - want_mean).max(), np.abs(views - want).max()
            yield ParityRow(
                engine=choice.engine,
                batch=size,
                logits_relative=relative_difference(logits, expected, size),
                probabilities=float(np.max(differences)),  # NaN where either is: Python's max may drop it
                top1_agreement=float((mean.argmax(1) == want_mean.argmax(1)).mean()),
                features_relative=_compare_features(answers, expected.features, size),
            )


def _compare_features(answers: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], size: int) -> float | None:
    """The largest difference of any layer's features [n,10,K], divided by the layer's largest expected one."""
    differences = [_relate(found, expected[layer][:size]) for layer, found in answers.items()]
    return float(np.max(differences)) if differences else None


def relative_difference(logits: np.ndarray, expected: ExpectedAnswers, size: int) -> float:
    """The largest difference of logits, divided by the largest expected logit.

    Where the reference has only probabilities: the largest absolute difference of the softmax.
    """
    if expected.logits is None:
        want = expected.probabilities[:size, expected.views]
        return float(np.abs(softmax(logits).reshape(want.shape) - want).max())
    want = expected.logits[:size]
    return _relate(logits.reshape(want.shape), want)


def _relate(found: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(found - want).max() / max(np.abs(want).max(), TINY))


def _open(model: onnx.ModelProto, choice: EngineChoice) -> Engine:
    try:
        return open_engine(model.SerializeToString(), choice)
    except (WorkFailed, ValueError) as error:  # ValueError: beyond 2 GB
        raise EngineRefused(whole_line(error)) from None


def _run(engine: Engine, batch: np.ndarray, size: int) -> dict[str, np.ndarray]:
    try:
        return engine.run(batch)
    except Exception as error:  # both runtimes raise types of their own
        raise EngineRefused(f"{engine.name} at batch {size}: {whole_line(error)}") from None
