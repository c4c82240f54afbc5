"""What both gates compare with, and how they show what they found: batches, engines and the table of parity.json."""

from collections.abc import Mapping
from typing import Any

from model.engine import Choice

BATCHES = (1, 2, 5)
ENGINES = (Choice("onnxruntime", "cpu", "fp32"), Choice("openvino", "cpu", "fp32"))


def parity_table(parity: Mapping[str, Any]) -> str:
    """What a gate found, for a person."""
    lines = [f"{'engine':<12} {'images':>6} {'logits, relative':>17} {'probabilities':>14} {'top-1 agrees':>13}"]
    for row in parity["compared"]:
        differences = f"{row['logits_relative']:>17.1e} {row['probabilities']:>14.1e}"
        lines.append(f"{row['engine']:<12} {row['batch']:>6} {differences} {row['top1_agreement']:>13.0%}")
    largest = ", ".join(f"{value:.0f} before {name}" for name, value in parity.get("largest_before_lrn", {}).items())
    return "\n".join([*lines, f"{parity['lrn_nodes']} LRN nodes" + (f"; largest activation {largest}" if largest else "")])
