"""Computes the values of a graph that depend on no image: what follows from constants and from the sides of tensors."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from tencrop.export.importers.graph_rewrite import find_image_inputs, prune_graph
from tencrop.export.session import open_session

SIDES_OF = ("Shape", "Size")  # operators that give the sides of a tensor
UNPACKING = ("Cast", "DequantizeLinear")  # of weights that are stored in fewer bits, and stay so


def fold_constants(model: onnx.ModelProto, sides: Sequence[int]) -> None:
    """Replace nodes by their values for images of these sides, batch included. onnxruntime computes them."""
    image = find_image_inputs(model)[0]
    for side, number in zip(image.type.tensor_type.shape.dim, sides, strict=True):
        side.dim_value = number
    del model.graph.value_info[:]
    wanted = list(dict.fromkeys(_list_foldable(model)))
    if not wanted:
        return
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(image.type.tensor_type.elem_type)
    found = open_session(exposed.SerializeToString()).run(wanted, {image.name: np.zeros(sides, dtype)})
    values = {name: value for name, value in zip(wanted, found, strict=True) if isinstance(value, np.ndarray)}
    for node in model.graph.node:
        node.output[:] = [f"{name}/computed" if name in values else name for name in node.output]
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    prune_graph(model, model.graph.output[0].name)


def _list_foldable(model: onnx.ModelProto) -> Iterator[str]:
    """Yield the values that depend on no image and that are taken by a node whose values do."""
    stored = {"", *(value.name for value in model.graph.initializer)}
    known, computed = set(stored), set[str]()
    for node in model.graph.node:
        if node.op_type in SIDES_OF or known.issuperset(node.input):
            known.update(node.output)
            if node.op_type == "Constant" or (node.op_type in UNPACKING and stored.issuperset(node.input)):
                stored.update(node.output)
            else:
                computed.update(node.output)
        else:
            yield from computed.intersection(node.input)
