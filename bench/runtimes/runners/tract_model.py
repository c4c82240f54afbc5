"""tract, which prepares the graph for one shape of the input."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tract

TYPES = {"uint8": "u8", "float32": "f32"}  # numpy's names -> tract's


def open_model(path: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values."""

    def forward(batch: np.ndarray) -> np.ndarray:
        loaded = tract.onnx().load(path)
        loaded.set_input_fact(0, ",".join([*map(str, batch.shape), TYPES[batch.dtype.name]]))
        number = [loaded.output_name(each) for each in range(loaded.output_count())].index(output)
        return np.asarray(loaded.into_model().into_runnable().run([batch])[number].to_numpy())

    return forward
