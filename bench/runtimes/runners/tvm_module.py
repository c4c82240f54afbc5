"""TVM: the graph as Relax, compiled by LLVM for this CPU and one shape of the input."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx


def open_model(path: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values."""
    model = onnx.load(path)
    number = [each.name for each in model.graph.output].index(output)

    def forward(batch: np.ndarray) -> np.ndarray:
        module = from_onnx(model, shape_dict={model.graph.input[0].name: list(batch.shape)})
        machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
        values = machine["main"](tvm.runtime.tensor(batch))
        return np.asarray((values if isinstance(values, tvm.runtime.Tensor) else values[number]).numpy())

    return forward
