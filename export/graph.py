"""Graph: an ONNX graph under construction, of which models are made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10


class Graph:
    """Nodes and initializers under construction. Weights in fp16 are stored so, with a Cast to fp32 behind them."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; its output carries its name."""
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """Append an initializer; returns what to use it by."""
        value = np.asarray(value)
        stored = f"{name}.fp16" if value.dtype == np.float16 else name
        self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), stored))
        return self.node("Cast", name, stored, to=TensorProto.FLOAT) if stored != name else name

    def slice(self, name: str, x: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]) -> str:
        """A part of `x`."""
        parts = zip(("starts", "ends", "axes", "steps"), (starts, ends, axes, steps), strict=True)
        return self.node("Slice", name, x, *(self.constant(f"{name}.{key}", np.array(value)) for key, value in parts))

    def model(self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The finished model, checked."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tencrop")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model
