"""OpenCV's dnn module."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np


def open_model(path: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values."""
    net = cv2.dnn.readNetFromONNX(str(path))

    def forward(batch: np.ndarray) -> np.ndarray:
        net.setInput(batch)
        return np.asarray(net.forward(output))

    return forward
