"""Graph: an ONNX graph under construction, of which models are made."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10

Shapes = Mapping[str, Sequence[int | str]]  # shapes by name; "N" is any number


class GraphBuilder:
    """Nodes and initializers under construction. Weights in fp16 are stored so, with a Cast to fp32 behind them."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add_node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; its output carries its name."""
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def add_constant(self, name: str, value: np.ndarray) -> str:
        """Append an initializer; returns what to use it by."""
        value = np.asarray(value)
        stored = f"{name}.fp16" if value.dtype == np.float16 else name
        self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), stored))
        return self.add_node("Cast", name, stored, to=TensorProto.FLOAT) if stored != name else name

    def add_slice(
        self, name: str, x: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
    ) -> str:
        """A part of `x`."""
        parts = zip(("starts", "ends", "axes", "steps"), (starts, ends, axes, steps), strict=True)
        return self.add_node(
            "Slice", name, x, *(self.add_constant(f"{name}.{key}", np.array(value)) for key, value in parts)
        )

    def build(self, name: str, taken: Shapes, given: Shapes, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
        """The finished model: what it takes, of this type, and the floats that it gives.

        Raises what onnx's checker raises, of several types, where the nodes make no such model.
        """
        inputs = [helper.make_tensor_value_info(value, dtype, shape) for value, shape in taken.items()]
        outputs = [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape) for value, shape in given.items()]
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tencrop")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model


def replace_input(nodes: Iterable[onnx.NodeProto], value: str, name: str) -> None:
    """Let every node that takes `value` take `name`."""
    for node in nodes:
        node.input[:] = [name if taken == value else taken for taken in node.input]
