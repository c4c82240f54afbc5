"""onnx's ReferenceEvaluator with another LRN: its own sums only as many channels as the batch has images."""

from functools import partial

import numpy as np
from onnx.reference.op_run import OpRun

from bench.runtimes.runners import onnx_reference


class LRN(OpRun):
    """Local response normalization of x [N,C,H,W], as the specification of ONNX has it."""

    def _run(self, x: np.ndarray, alpha: float, beta: float, bias: float, size: int) -> tuple[np.ndarray]:
        before = (size - 1) // 2
        squares = np.pad(x**2, ((0, 0), (before, size - 1 - before), (0, 0), (0, 0)))
        sums = sum(squares[:, shift : shift + x.shape[1]] for shift in range(size))
        return (np.asarray(x / (bias + alpha / size * sums) ** beta, x.dtype),)


open_model = partial(onnx_reference.open_model, operators=[LRN])
