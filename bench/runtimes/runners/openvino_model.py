"""OpenVINO on the CPU in fp32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino


def open_model(path: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values."""
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: np.asarray(compiled([batch])[compiled.output(output)])
