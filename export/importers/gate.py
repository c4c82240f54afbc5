"""The gate of an imported net: net.onnx and tencrop.onnx on two independent engines against the source as it came."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from tencrop.common.errors import BadInput, WorkFailed, one_line
from tencrop.export.importers.graph_rewrite import find_rounding_operator
from tencrop.export.importers.pixels import cut_ten_views
from tencrop.export.importers.reference import Reference, SourceAnswers, softmax
from tencrop.export.importers.source_to_net import TINY
from tencrop.export.parity import BATCHES, ENGINES, EXACT, check, row
from tencrop.model.contract import CENTER_VIEW
from tencrop.runtime.engine import Engine, open_engine
from tencrop.runtime.engine_choice import EngineChoice


def check_import(
    net: onnx.ModelProto, tencrop: onnx.ModelProto, reference: Reference, answer: SourceAnswers, output: str
) -> dict[str, Any]:
    """What parity.json holds. Raises WorkFailed where the numbers differ, BadInput where an engine or a batch is beyond the net."""
    compared, why = [], _why(net)
    for found in _compare(net, tencrop, reference, answer, output):
        compared.append(found)
        check(found, EXACT, reference.source.path, why)
    return {
        "reference": reference.source.reference,
        "images": len(answer.images),
        "limits": EXACT._asdict(),
        "lrn_nodes": Counter(node.op_type for node in net.graph.node)["LRN"],
        "compared": compared,
    }


def _why(net: onnx.ModelProto) -> str:
    """Where that is no fault of the import."""
    op = find_rounding_operator(net)
    return (
        f"; it rounds to 8 or 16 bits ({op}), which no two engines do alike: import the float32 net that it was made from"
        if op
        else ""
    )


def _compare(
    net: onnx.ModelProto, tencrop: onnx.ModelProto, reference: Reference, answer: SourceAnswers, output: str
) -> Iterator[dict[str, Any]]:
    images, said, before = answer
    want = said if output == "probabilities" else softmax(said)
    logits = said if output == "logits" else before
    crops = _crops(reference, images)
    for choice in ENGINES:
        bare, whole = (_opened(model, choice, reference) for model in (net, tencrop))
        for size in BATCHES:
            got = _run(bare, crops[:size], size, reference)["logits"]
            relative = _relative(got, want[:size, CENTER_VIEW], None if logits is None else logits[:size, CENTER_VIEW])
            yield row(choice.engine, relative, _run(whole, images[:size], size, reference), want[:size])


def _crops(reference: Reference, images: np.ndarray) -> np.ndarray:
    """The center views as net.onnx takes them."""
    planes = images.transpose(0, 3, 1, 2).astype(np.float32)
    return np.ascontiguousarray(cut_ten_views(planes, reference.pixels.rgb_mean, reference.contract)[:, CENTER_VIEW])


def _relative(got: np.ndarray, probabilities: np.ndarray, logits: np.ndarray | None) -> float:
    """Of the logits; where the source has none, of the probabilities that they give."""
    if logits is None:
        return float(np.abs(softmax(got) - probabilities).max())
    return float(np.abs(got - logits).max() / max(np.abs(logits).max(), TINY))


def _opened(model: onnx.ModelProto, choice: EngineChoice, reference: Reference) -> Engine:
    try:
        return open_engine(model.SerializeToString(), choice)
    except (WorkFailed, ValueError) as error:  # ValueError: beyond 2 GB
        raise BadInput(f"{reference.source.path}: {one_line(error)}") from None


def _run(engine: Engine, batch: np.ndarray, size: int, reference: Reference) -> dict[str, np.ndarray]:
    try:
        return engine.run(batch)
    except Exception as error:  # both runtimes raise types of their own
        why = f"{reference.source_input.batch_limit}; {engine.name} at batch {size}: {one_line(error)}"
        raise BadInput(f"{reference.source.path}: {why}") from None
