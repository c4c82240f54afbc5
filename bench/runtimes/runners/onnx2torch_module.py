"""onnx2torch: the file as a module of torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx2torch import convert


def open_model(path: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values."""
    model = onnx.load(path)
    number = [each.name for each in model.graph.output].index(output)
    module = convert(model).eval()

    @torch.inference_mode()
    def forward(batch: np.ndarray) -> np.ndarray:
        values = module(torch.from_numpy(batch))
        return np.asarray((values if isinstance(values, torch.Tensor) else values[number]).numpy())

    return forward
