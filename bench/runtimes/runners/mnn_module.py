"""MNN: the file converted by its mnnconvert. It takes pixels in the format NCHW, with their sides as they are."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import MNN
import numpy as np

TYPES = {"uint8": MNN.expr.uint8, "float32": MNN.expr.float}  # by numpy's names


def open_model(path: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values. Writes the converted file into the working folder."""
    program, converted = str(Path(sys.executable).with_name("mnnconvert")), "converted.mnn"
    command = [program, "-f", "ONNX", "--modelFile", str(path), "--MNNModel", converted, "--bizCode", "tencrop"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    net = MNN.nn.load_module_from_file(converted, [], [output])

    def forward(batch: np.ndarray) -> np.ndarray:
        taken = MNN.expr.const(batch, list(batch.shape), MNN.expr.NCHW, TYPES[batch.dtype.name])
        return np.asarray(MNN.expr.convert(net.forward(taken), MNN.expr.NCHW).read())

    return forward
