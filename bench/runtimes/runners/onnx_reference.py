"""onnx's ReferenceEvaluator."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


def open_model(path: Path, output: str, operators: Sequence[type[OpRun]] = ()) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values. operators: in the place of onnx's own."""
    evaluator = ReferenceEvaluator(str(path), new_ops=list(operators))
    (taken,) = evaluator.input_names

    def forward(batch: np.ndarray) -> np.ndarray:
        (values,) = evaluator.run([output], {taken: batch})
        return np.asarray(values)

    return forward
