"""Estimates how far bf16, the default precision of CPUs that have it, moves the probabilities of a tencrop.onnx.

The weights and the values on the way to each convolution and matrix product are rounded to bf16, and onnxruntime sums
in fp32. So the estimate is the same on each machine.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tencrop.export.session import open_session
from tencrop.model.tencropfile import INPUT, OUTPUTS

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
LOST_BITS = 16  # of float32, which bf16 does not have
BF16_LIMIT = 1e-2  # difference of a probability, beyond which a file prefers fp32


def estimate_bf16(tencrop: onnx.ModelProto, images: np.ndarray, probabilities: np.ndarray) -> float:
    """The largest difference of a probability. images: uint8 [N,R,R,3]; probabilities: in fp32, [N,C]."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(tencrop)
    _round_graph(rounded.graph, rounded.opset_import)
    session = open_session(rounded.SerializeToString())  # without optimization, which might remove the roundings
    found = np.concatenate([session.run([OUTPUTS[0]], {INPUT: image[None]})[0] for image in images])
    return float(np.abs(found - probabilities).max())


def _round_graph(graph: onnx.GraphProto, opsets: Iterable[onnx.OperatorSetIdProto]) -> None:
    """Round the values on the way to a product, also inside loops."""
    inferred = shape_inference.infer_shapes(onnx.ModelProto(graph=graph, opset_import=opsets, ir_version=8)).graph
    floats = {value.name for value in inferred.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    taken = set[str]()  # by a product, or by a node on the way to one
    for node in reversed(graph.node):
        if node.op_type in PRODUCTS or taken.intersection(node.output):
            taken.update(node.input)
    for weight in graph.initializer:
        if weight.name in taken and weight.data_type == TensorProto.FLOAT and len(weight.dims) > 1:
            weight.CopyFrom(numpy_helper.from_array(round_to_bf16(numpy_helper.to_array(weight)), weight.name))
    nodes = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _round_graph(attribute.g, opsets)
        rounded = [name for name in node.output if name in taken and name in floats]
        node.output[:] = [f"{name}/exact" if name in rounded else name for name in node.output]
        nodes.append(node)
        for name in rounded:
            nodes.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/bf16"], to=TensorProto.BFLOAT16))
            nodes.append(helper.make_node("Cast", [f"{name}/bf16"], [name], to=TensorProto.FLOAT))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def round_to_bf16(values: np.ndarray) -> np.ndarray:
    """The nearest numbers that bf16 has, as float32; of two that are equally near, the even one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32((1 << (LOST_BITS - 1)) - 1) + ((bits >> LOST_BITS) & np.uint32(1))
    rounded: np.ndarray = ((bits + half) >> LOST_BITS) << LOST_BITS
    return rounded.view(np.float32)
