"""LRN for onnxruntime's CPU: the same norm from operators that it runs on all cores. Its own kernel runs on one and calls pow.

That kernel also keeps a running sum, which loses digits where activations exceed 1e4; here each sum is its own.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

ROOTS = 0.75  # the paper's beta: its power is two square roots, cheaper than Pow


def decomposed(graph: bytes) -> bytes:
    """The file with each LRN in fp32 over a known number of maps as a 1x1 convolution of the squares, roots and a division."""
    model = onnx.load_model_from_string(graph)
    if not any(node.op_type == "LRN" for node in model.graph.node):
        return graph
    maps = _maps(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        known = node.op_type == "LRN" and maps.get(node.input[0], 0)
        nodes.extend(_norm(model.graph, node, int(known)) if known else [node])
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _maps(model: onnx.ModelProto) -> dict[str, int]:
    """How many maps each image-shaped value in fp32 has, where the file tells."""
    inferred = shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.input)}
    floats = {name: kind.shape.dim for name, kind in types.items() if kind.elem_type == TensorProto.FLOAT}
    return {name: sides[1].dim_value for name, sides in floats.items() if len(sides) == 4}


def _norm(graph: onnx.GraphProto, node: onnx.NodeProto, maps: int) -> list[onnx.NodeProto]:
    """x / (k + alpha / size * sum of squares)^beta, as the standard's LRN has it."""
    told = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0} | {a.name: helper.get_attribute_value(a) for a in node.attribute}
    size, beta, x, name = told["size"], told["beta"], node.input[0], node.output[0]
    apart = np.subtract.outer(np.arange(maps), np.arange(maps))  # [i,j] = i - j; map i sees j from i - before to i + behind
    band = (-apart <= size // 2) & (apart <= (size - 1) // 2)
    graph.initializer.append(numpy_helper.from_array((band * told["alpha"] / size).astype(np.float32)[:, :, None, None], f"{name}/band"))
    graph.initializer.append(numpy_helper.from_array(np.full(maps, told["bias"], np.float32), f"{name}/k"))
    scale = [
        helper.make_node("Mul", [x, x], [f"{name}/squares"]),
        helper.make_node("Conv", [f"{name}/squares", f"{name}/band", f"{name}/k"], [f"{name}/scale"], kernel_shape=[1, 1]),
    ]
    return [*scale, *_power(graph, name, beta), helper.make_node("Div", [x, f"{name}/power"], [name], name=node.name)]


def _power(graph: onnx.GraphProto, name: str, beta: float) -> list[onnx.NodeProto]:
    """scale^beta."""
    if np.isclose(beta, ROOTS, rtol=0, atol=1e-7):
        return [
            helper.make_node("Sqrt", [f"{name}/scale"], [f"{name}/half"]),
            helper.make_node("Sqrt", [f"{name}/half"], [f"{name}/quarter"]),
            helper.make_node("Mul", [f"{name}/half", f"{name}/quarter"], [f"{name}/power"]),
        ]
    graph.initializer.append(helper.make_tensor(f"{name}/beta", TensorProto.FLOAT, [], [beta]))
    return [helper.make_node("Pow", [f"{name}/scale", f"{name}/beta"], [f"{name}/power"])]
