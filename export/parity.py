"""What both gates compare with, what they let pass, and how they show what they found: the rows of parity.json and their table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tencrop.common.errors import WorkFailed
from tencrop.model.tencropfile import OUTPUTS
from tencrop.runtime.engine_choice import EngineChoice

BATCHES = (1, 2, 5)
ENGINES = (EngineChoice("onnxruntime", "cpu", "fp32"), EngineChoice("openvino", "cpu", "fp32"))


class Limits(NamedTuple):
    """Largest differences: of a logit over the largest logit, of a probability as it is."""

    logits_relative: float
    probabilities: float


EXACT = Limits(1e-4, 1e-4)


def row(engine: str, logits_relative: float, got: Mapping[str, np.ndarray], want: np.ndarray) -> dict[str, Any]:
    """How far an engine's answer to a batch is from the view probabilities [N,10,C] that are wanted, and its logits from theirs."""
    mean, views = (got[name] for name in OUTPUTS)
    want_mean = want.mean(1)
    return {
        "engine": engine,
        "batch": len(want),
        "logits_relative": logits_relative,
        "probabilities": float(max(np.abs(mean - want_mean).max(), np.abs(views - want).max())),
        "top1_agreement": float((mean.argmax(1) == want_mean.argmax(1)).mean()),
    }


def check(row: Mapping[str, Any], limits: Limits, reference: object, why: str = "") -> None:
    """Raises WorkFailed where a row is beyond the limits; `why`: what to add to that."""
    for file, key in (("net.onnx", "logits_relative"), ("tencrop.onnx", "probabilities")):
        allowed = getattr(limits, key)
        if not row[key] <= allowed:  # a NaN fails too
            by = f"{row[key]:.1e} (allowed {allowed:.0e}){why}"
            raise WorkFailed(
                f"parity: {row['engine']} at batch {row['batch']}: {file} differs from {reference} by {by}"
            )


def format_parity(parity: Mapping[str, Any]) -> str:
    """What a gate found, for a person."""
    lines = [f"{'engine':<12} {'images':>6} {'logits, relative':>17} {'probabilities':>14} {'top-1 agrees':>13}"]
    for row in parity["compared"]:
        differences = f"{row['logits_relative']:>17.1e} {row['probabilities']:>14.1e}"
        lines.append(f"{row['engine']:<12} {row['batch']:>6} {differences} {row['top1_agreement']:>13.0%}")
    largest = ", ".join(f"{value:.0f} before {name}" for name, value in parity.get("largest_before_lrn", {}).items())
    return "\n".join(
        [*lines, f"{parity['lrn_nodes']} LRN nodes" + (f"; largest activation {largest}" if largest else "")]
    )
