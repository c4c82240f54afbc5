"""onnxruntime on the CPU, as it is delivered."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime


def open_model(path: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    return lambda batch: np.asarray(session.run([output], {taken.name: batch})[0])
