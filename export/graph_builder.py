"""GraphBuilder: assembles an ONNX model node by node."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # of what is written from scratch; onnxruntime 1.15 reads it
AXES_AS_INPUT = 18  # the first opset in which ReduceMean takes its axes as an input, not as an attribute

Shapes = Mapping[str, Sequence[int | str]]  # by name; "N" is any number


class GraphBuilder:
    """Nodes and initializers under construction. Weights in fp16 stay fp16 in the file; a Cast to fp32 follows them.

    opset: the version of ONNX's operators. A graph around a net takes the net's: `read_opset`.
    """

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add_node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; its output has the node's name, which is returned."""
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def add_constant(self, name: str, value: np.ndarray) -> str:
        """Append an initializer; returns the name of its fp32 value."""
        value = np.asarray(value)
        stored = f"{name}.fp16" if value.dtype == np.float16 else name
        self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), stored))
        return self.add_node("Cast", name, stored, to=TensorProto.FLOAT) if stored != name else name

    def add_slice(
        self, name: str, x: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
    ) -> str:
        """Append a node that cuts a part out of `x`."""
        parts = zip(("starts", "ends", "axes", "steps"), (starts, ends, axes, steps), strict=True)
        constants = (self.add_constant(f"{name}.{key}", np.array(value)) for key, value in parts)
        return self.add_node("Slice", name, x, *constants)

    def add_mean(self, name: str, x: str, axis: int) -> str:
        """Append a node that replaces an axis of `x` by the mean over it."""
        if self.opset < AXES_AS_INPUT:
            return self.add_node("ReduceMean", name, x, axes=[axis], keepdims=0)
        return self.add_node("ReduceMean", name, x, self.add_constant(f"{name}.axes", np.array([axis])), keepdims=0)

    def build(self, name: str, inputs: Shapes, outputs: Shapes, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
        """The finished model, its inputs of type `dtype` and its outputs float, in the oldest IR that knows its opset.

        Raises errors of onnx's checker, of several types, where the nodes do not fit together.
        """
        taken = [helper.make_tensor_value_info(value, dtype, shape) for value, shape in inputs.items()]
        given = [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape) for value, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, name, taken, given, self.initializers)
        imports = [helper.make_opsetid("", self.opset)]
        model = helper.make_model_gen_version(graph, opset_imports=imports, producer_name="tencrop")
        onnx.checker.check_model(model, full_check=True)
        return model


def read_opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that the model states; 1 where it states none."""
    return next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), 1)


def replace_input(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    """Let every node that takes the value `old` take `new` instead."""
    for node in nodes:
        node.input[:] = [new if value == old else value for value in node.input]
