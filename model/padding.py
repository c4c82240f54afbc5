"""Padding for CUDA: cuDNN convolves with as many zeros before an image as behind it, and conv1 has 0 before and 3 behind."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from model.rewrite import Types, rewritten


def symmetric(graph: bytes) -> bytes:
    """The file with each Conv of unequal padding, where its size is known, as one of equal padding, additional windows sliced off."""
    return rewritten(graph, _uneven, _evened)


def _uneven(node: onnx.NodeProto) -> bool:
    pads = next((list(a.ints) for a in node.attribute if a.name == "pads"), [])
    return node.op_type == "Conv" and pads[: len(pads) // 2] != pads[len(pads) // 2 :]


def _evened(graph: onnx.GraphProto, node: onnx.NodeProto, types: Types) -> list[onnx.NodeProto]:
    """Whole strides more zeros before, until they are those behind: the old windows are among the new ones, `skipped` further."""
    name = node.output[0]
    sides = np.array([dim.dim_value for dim in types[name].shape.dim[2:]]) if name in types else np.zeros(0)
    if not sides.size or not sides.all():
        return [node]
    told = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    before, behind = np.split(np.array(told["pads"]), 2)
    strides = np.array(told.get("strides", [1] * len(before)))
    skipped = np.maximum(0, -(-(behind - before) // strides))
    told["pads"] = [*(before + skipped * strides).tolist()] * 2
    parts = {"starts": skipped, "ends": skipped + sides, "axes": 2 + np.arange(len(sides))}
    graph.initializer.extend(numpy_helper.from_array(value.astype(np.int64), f"{name}/{part}") for part, value in parts.items())
    return [
        helper.make_node("Conv", list(node.input), [f"{name}/wide"], name=node.name, **told),
        helper.make_node("Slice", [f"{name}/wide", *(f"{name}/{part}" for part in parts)], [name]),
    ]
