"""Replaces onnxruntime's slow single-core CPU LRN kernel with equivalent operators that use all cores.

onnxruntime's kernel also keeps a running sum, which loses digits where activations exceed 1e4. Here each sum is
computed by itself.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

ROOTS = 0.75  # the paper's beta: x^0.75 is two square roots and a product, cheaper than Pow

Types = Mapping[str, onnx.TypeProto.Tensor]


def decompose_lrn(graph: bytes) -> bytes:
    """Replace each LRN node by a 1x1 convolution of the squares, square roots and a division.

    A node stays where its type is not fp32 or its number of maps is not known.
    """
    model = onnx.load_model_from_string(graph)
    if all(node.op_type != "LRN" for node in model.graph.node):
        return graph
    inferred = shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    nodes = [
        part
        for node in model.graph.node
        for part in (_norm(model.graph, node, types) if node.op_type == "LRN" else [node])
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _norm(graph: onnx.GraphProto, node: onnx.NodeProto, types: Types) -> list[onnx.NodeProto]:
    """The nodes of x / (k + alpha / size * sum of squares)^beta; the LRN node itself where it has to stay."""
    kind = types.get(node.input[0])
    sides = [dim.dim_value for dim in kind.shape.dim] if kind and kind.elem_type == TensorProto.FLOAT else []
    if len(sides) != 4 or not sides[1]:
        return [node]
    maps = sides[1]
    attributes = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0} | {
        a.name: helper.get_attribute_value(a) for a in node.attribute
    }
    size, beta, x, name = attributes["size"], attributes["beta"], node.input[0], node.output[0]
    distance = np.subtract.outer(np.arange(maps), np.arange(maps))  # [i,j] = i - j
    band = (-distance <= size // 2) & (distance <= (size - 1) // 2)  # the maps j that map i is divided by
    graph.initializer.append(
        numpy_helper.from_array(
            (band * attributes["alpha"] / size).astype(np.float32)[:, :, None, None], f"{name}/band"
        )
    )
    graph.initializer.append(numpy_helper.from_array(np.full(maps, attributes["bias"], np.float32), f"{name}/k"))
    scale = [
        helper.make_node("Mul", [x, x], [f"{name}/squares"]),
        helper.make_node(
            "Conv", [f"{name}/squares", f"{name}/band", f"{name}/k"], [f"{name}/scale"], kernel_shape=[1, 1]
        ),
    ]
    return [*scale, *_power(graph, name, beta), helper.make_node("Div", [x, f"{name}/power"], [name], name=node.name)]


def _power(graph: onnx.GraphProto, name: str, beta: float) -> list[onnx.NodeProto]:
    """The nodes of scale^beta."""
    if np.isclose(beta, ROOTS, rtol=0, atol=1e-7):
        return [
            helper.make_node("Sqrt", [f"{name}/scale"], [f"{name}/half"]),
            helper.make_node("Sqrt", [f"{name}/half"], [f"{name}/quarter"]),
            helper.make_node("Mul", [f"{name}/half", f"{name}/quarter"], [f"{name}/power"]),
        ]
    graph.initializer.append(helper.make_tensor(f"{name}/beta", TensorProto.FLOAT, [], [beta]))
    return [helper.make_node("Pow", [f"{name}/scale", f"{name}/beta"], [f"{name}/power"])]
