"""The gate of an imported net: net.onnx and tencrop.onnx on two independent engines against the source as it came."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from export.importers.classifier import TINY
from export.importers.graphs import rounded
from export.importers.reference import Answers, Reference, softmax
from export.parity import BATCHES, ENGINES
from export.views import cut
from model.contract import CENTER_VIEW
from model.engine import Choice, Engine, open_engine
from model.errors import BadInput, WorkFailed, one_line
from model.tencropfile import OUTPUTS

LIMIT = 1e-4  # largest difference: of a logit over the largest logit, of a probability as it is


def prove(net: onnx.ModelProto, tencrop: onnx.ModelProto, reference: Reference, answers: Answers, output: str) -> dict[str, Any]:
    """What parity.json holds. Raises WorkFailed where the numbers differ, BadInput where an engine or a batch is beyond the net."""
    compared = []
    for row in _compare(net, tencrop, reference, answers, output):
        compared.append(row)
        for file, key in (("net.onnx", "logits_relative"), ("tencrop.onnx", "probabilities")):
            if not row[key] <= LIMIT:  # a NaN fails too
                where = f"{row['engine']} at batch {row['batch']}"
                by = f"{row[key]:.1e} (allowed {LIMIT:.0e}){_why(net)}"
                raise WorkFailed(f"parity: {where}: {file} differs from {reference.source.path} by {by}")
    return {
        "reference": reference.source.reference,
        "images": len(answers.images),
        "limits": {"logits_relative": LIMIT, "probabilities": LIMIT},
        "lrn_nodes": Counter(node.op_type for node in net.graph.node)["LRN"],
        "compared": compared,
    }


def _why(net: onnx.ModelProto) -> str:
    """Where that is no fault of the import."""
    op = rounded(net)
    return f"; it rounds to 8 or 16 bits ({op}), which no two engines do alike: import the float32 net that it was made from" if op else ""


def _compare(
    net: onnx.ModelProto, tencrop: onnx.ModelProto, reference: Reference, answers: Answers, output: str
) -> Iterator[dict[str, Any]]:
    images, said, before = answers
    want = said if output == "probabilities" else softmax(said)
    logits = said if output == "logits" else before
    crops = _crops(reference, images)
    for choice in ENGINES:
        bare, whole = (_opened(model, choice, reference) for model in (net, tencrop))
        for size in BATCHES:
            got = _run(bare, crops[:size], size, reference)["logits"]
            answer = _run(whole, images[:size], size, reference)
            mean, views = (answer[name] for name in OUTPUTS)
            yield {
                "engine": choice.engine,
                "batch": size,
                "logits_relative": _relative(got, want[:size, CENTER_VIEW], None if logits is None else logits[:size, CENTER_VIEW]),
                "probabilities": float(max(np.abs(mean - want[:size].mean(1)).max(), np.abs(views - want[:size]).max())),
                "top1_agreement": float((mean.argmax(1) == want[:size].mean(1).argmax(1)).mean()),
            }


def _crops(reference: Reference, images: np.ndarray) -> np.ndarray:
    """The center views as net.onnx takes them."""
    planes = images.transpose(0, 3, 1, 2).astype(np.float32)
    return np.ascontiguousarray(cut(planes, reference.pixels.subtracted, reference.contract)[:, CENTER_VIEW])


def _relative(got: np.ndarray, probabilities: np.ndarray, logits: np.ndarray | None) -> float:
    """Of the logits; where the source has none, of the probabilities that they give."""
    if logits is None:
        return float(np.abs(softmax(got) - probabilities).max())
    return float(np.abs(got - logits).max() / max(np.abs(logits).max(), TINY))


def _opened(model: onnx.ModelProto, choice: Choice, reference: Reference) -> Engine:
    try:
        return open_engine(model.SerializeToString(), choice)
    except (WorkFailed, ValueError) as error:  # ValueError: beyond 2 GB
        raise BadInput(f"{reference.source.path}: {one_line(error)}") from None


def _run(engine: Engine, batch: np.ndarray, size: int, reference: Reference) -> dict[str, np.ndarray]:
    try:
        return engine.run(batch)
    except Exception as error:  # both runtimes raise types of their own
        why = f"{reference.shape.any_batch}; {engine.name} at batch {size}: {one_line(error)}"
        raise BadInput(f"{reference.source.path}: {why}") from None
