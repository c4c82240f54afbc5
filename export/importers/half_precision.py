"""Computes a net of half precision in float32, where all engines compute the same numbers. Its weights stay fp16."""

from copy import deepcopy
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tencrop.export.graph_builder import replace_input

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT
SMALL = 10_000  # numbers of a tensor; one of more is unpacked by a Cast, and takes half the bytes in the file
TYPE_ATTRIBUTES = ("to", "dtype")


def computes_in_half(model: onnx.ModelProto) -> bool:
    """Return whether any value but a stored weight is float16."""
    if any(value.type.tensor_type.elem_type == HALF for value in (*model.graph.input, *model.graph.output)):
        return True
    stored = {tensor.name for tensor in model.graph.initializer if tensor.data_type == HALF}
    for node in model.graph.node:
        if node.op_type == "Constant" and any(each.t.data_type == HALF for each in node.attribute):
            stored.update(node.output)
            continue
        takes_half = node.op_type != "Cast" and bool(stored.intersection(node.input))
        if takes_half or any(each.name in TYPE_ATTRIBUTES and each.i == HALF for each in node.attribute):
            return True
    return False


def compute_in_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose values are float32 where they were float16."""
    copy = deepcopy(model)
    graph, unpacked = copy.graph, list[onnx.NodeProto]()
    del graph.value_info[:]
    for tensor in [tensor for tensor in graph.initializer if tensor.data_type == HALF]:
        if prod(tensor.dims) <= SMALL:
            _widen(tensor)
        else:
            unpacked.append(helper.make_node("Cast", [f"{tensor.name}/half"], [tensor.name], to=FLOAT))
            tensor.name = f"{tensor.name}/half"
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.t.data_type == HALF:
                _widen(attribute.t)
            if attribute.name in TYPE_ATTRIBUTES and attribute.i == HALF:
                attribute.i = FLOAT
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == HALF:
            value.type.tensor_type.elem_type = FLOAT
    nodes = [*unpacked, *(deepcopy(node) for node in graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)
    return copy


def _widen(tensor: TensorProto) -> None:
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def take_float(model: onnx.ModelProto, image: str) -> onnx.ModelProto:
    """A copy that takes images as float32, and casts them to the type that they had."""
    copy = deepcopy(model)
    tensor = next(value for value in copy.graph.input if value.name == image).type.tensor_type
    cast = helper.make_node("Cast", [image], [f"{image}/cast"], to=tensor.elem_type)
    replace_input(copy.graph.node, image, cast.output[0])
    copy.graph.node.insert(0, cast)
    tensor.elem_type = FLOAT
    return copy


def give_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose only output is cast to float32."""
    copy = deepcopy(model)
    output = copy.graph.output[0]
    copy.graph.node.append(helper.make_node("Cast", [output.name], [f"{output.name}/float"], to=FLOAT))
    output.name = f"{output.name}/float"
    output.type.tensor_type.elem_type = FLOAT
    return copy
