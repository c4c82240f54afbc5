"""Padding for CUDA: cuDNN convolves with as many zeros before an image as behind it, and conv1 has 0 before and 3 behind."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference


def symmetric(graph: bytes) -> bytes:
    """The file with each Conv of unequal padding as one of equal padding, its additional windows sliced off."""
    model = onnx.load_model_from_string(graph)
    if not any(_uneven(node) for node in model.graph.node):
        return graph
    inferred = shape_inference.infer_shapes(model).graph
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inferred.value_info}
    nodes = [part for node in model.graph.node for part in (_evened(model.graph, node, shapes) if _uneven(node) else [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _uneven(node: onnx.NodeProto) -> bool:
    pads = next((list(a.ints) for a in node.attribute if a.name == "pads"), [])
    return node.op_type == "Conv" and pads[: len(pads) // 2] != pads[len(pads) // 2 :]


def _evened(graph: onnx.GraphProto, node: onnx.NodeProto, shapes: dict[str, list[int]]) -> Iterator[onnx.NodeProto]:
    """Whole strides more zeros before, until they are those behind: the old windows are among the new ones, `skipped` further."""
    told = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    before, behind = np.split(np.array(told["pads"]), 2)
    strides = np.array(told.get("strides", [1] * len(before)))
    skipped = np.maximum(0, -(-(behind - before) // strides))
    name, sides = node.output[0], np.array(shapes[node.output[0]][2:])
    told["pads"] = [*(before + skipped * strides).tolist()] * 2
    yield helper.make_node("Conv", list(node.input), [f"{name}/wide"], name=node.name, **told)
    for part, value in (("starts", skipped), ("ends", skipped + sides), ("axes", 2 + np.arange(len(sides)))):
        graph.initializer.append(numpy_helper.from_array(value.astype(np.int64), f"{name}/{part}"))
    yield helper.make_node("Slice", [f"{name}/wide", *(f"{name}/{part}" for part in ("starts", "ends", "axes"))], [name])
