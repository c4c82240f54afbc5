"""Converts a graph to fp16 for onnxruntime on a GPU: convolutions and matrix products, and what only hands values on.

onnxruntime's own converter (onnxruntime.transformers.float16) casts to fp16 and back between two nodes that stay fp32,
which would round the probabilities on their way to the mean of the ten.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

PRODUCTS = ("Conv", "Gemm", "MatMul")  # tensor cores multiply in fp16 and sum in fp32
CARRIERS = ("Concat", "Flatten", "Identity", "MaxPool", "Mul", "Relu", "Reshape", "Slice", "Transpose")


def convert_to_fp16(graph: bytes) -> bytes:
    """Compute the products in fp16, and the carriers of values that are in fp16 already.

    All else stays fp32, such as LRN, softmax, means and the subtraction of the mean image. Inputs and outputs keep
    their types. A weight beyond fp16's range becomes infinite, and then the probe fails.
    """
    model = onnx.load_model_from_string(graph)
    conversion = _Conversion(model)
    for node in model.graph.node:
        conversion.add(node)
    for value in model.graph.output:
        conversion.to_fp32(value.name)
    del model.graph.node[:]
    model.graph.node.extend(conversion.nodes)
    model.graph.initializer.extend(conversion.initializers)
    del model.graph.value_info[:]  # of values that may now exist in fp16 alone
    return bytes(model.SerializeToString())


class _Conversion:
    """The nodes of the new graph, made one after the other. A value keeps its name in fp32 and has another in fp16."""

    def __init__(self, model: onnx.ModelProto) -> None:
        inferred = shape_inference.infer_shapes(model).graph
        values = (*inferred.value_info, *inferred.input, *inferred.output)
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._types |= {name: tensor.data_type for name, tensor in self._weights.items()}
        self._half: dict[str, str] = {}  # name in fp16, by the name in fp32
        self._missing: set[str] = set()  # names of values that do not exist in fp32 so far
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, node: onnx.NodeProto) -> None:
        """Add a node in the precision that its operator and its inputs call for."""
        floats = [name for name in node.input if self._is_float(name)]
        if self._is_cast_from_fp16(node):
            self._half[node.output[0]] = node.input[0]
            self._missing.add(node.output[0])
        elif node.op_type in PRODUCTS or (node.op_type in CARRIERS and self._are_half(floats)):
            node.input[:] = [self._to_fp16(name) if name in floats else name for name in node.input]
            node.output[:] = [self._rename(name) if self._is_float(name) else name for name in node.output]
            self.nodes.append(node)
        else:
            for name in floats:
                self.to_fp32(name)
            self.nodes.append(node)

    def to_fp32(self, name: str) -> None:
        """Make sure that the value exists in fp32."""
        if name in self._missing:
            self._missing.remove(name)
            self.nodes.append(helper.make_node("Cast", [self._half[name]], [name], to=TensorProto.FLOAT))

    def _to_fp16(self, name: str) -> str:
        """The name of the value in fp16, which is made where it does not exist."""
        if name not in self._half:
            half = self._half[name] = f"{name}/fp16"
            if name in self._weights:
                with np.errstate(over="ignore"):
                    values = numpy_helper.to_array(self._weights[name]).astype(np.float16)
                self.initializers.append(numpy_helper.from_array(values, half))
            else:
                self.nodes.append(helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16))
        return self._half[name]

    def _rename(self, name: str) -> str:
        """The name in fp16 of a value that a node computes in fp16."""
        self._missing.add(name)
        return self._half.setdefault(name, f"{name}/fp16")

    def _are_half(self, names: list[str]) -> bool:
        computed = [name for name in names if name not in self._weights]
        return bool(computed) and all(name in self._half for name in computed)

    def _is_cast_from_fp16(self, node: onnx.NodeProto) -> bool:
        """Return whether the node only unpacks fp16, as that of a weight does."""
        is_half = node.op_type == "Cast" and self._types.get(node.input[0]) == TensorProto.FLOAT16
        return is_half and self._is_float(node.output[0])

    def _is_float(self, name: str) -> bool:
        return self._types.get(name) == TensorProto.FLOAT
