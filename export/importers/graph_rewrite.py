"""Cleans up a foreign ONNX graph: upgrades its operators, drops nodes that are not needed."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from tencrop.common.errors import BadInput, one_line, whole_line
from tencrop.export.graph_builder import OPSET, read_opset, replace_input

RESHAPING = ("Identity", "Flatten", "Reshape", "Squeeze")  # operators that may stand between a softmax and the output
SQUASHING = ("Softmax", "Sigmoid", "HardSigmoid")  # operators that map scores to 0..1
WEIGHING = ("Conv", "Gemm", "MatMul", "Einsum")  # parts of the names of operators that have weights
ROUNDING = ("Quantize", "QLinear", "Integer")  # parts of the names of operators on 8 bits
HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, *HALVES)
LITERALS: Mapping[str, type] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def upgrade_opset(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """Convert a net of an older opset to OPSET; a newer one stays as it is.

    Raises BadInput, naming `source`, where an operator cannot be converted.
    """
    try:
        return model if read_opset(model) >= OPSET else version_converter.convert_version(model, OPSET)
    except Exception as error:  # a type of its own for every operator
        raise BadInput(
            f"{source}: cannot be brought to opset {OPSET}: {whole_line(error)}", "export it with that opset"
        ) from None


def collect_constants(model: onnx.ModelProto) -> Mapping[str, TensorProto]:
    """Initializers and Constant nodes by name."""
    constants = {value.name: value for value in model.graph.initializer}
    for node in model.graph.node:
        attribute = node.attribute[0] if node.op_type == "Constant" else None
        if attribute and attribute.HasField("t"):
            constants[node.output[0]] = attribute.t
        elif attribute and attribute.name in LITERALS:
            values: np.ndarray = np.array(helper.get_attribute_value(attribute), LITERALS[attribute.name])
            constants[node.output[0]] = numpy_helper.from_array(values)
    return constants


def find_tensor(model: onnx.ModelProto, is_bad: Callable[[np.ndarray], np.ndarray]) -> str | None:
    """Name of the first float tensor with a value for which `is_bad` holds, as np.isnan or np.isinf."""
    floats = ((name, value) for name, value in collect_constants(model).items() if value.data_type in FLOATS)
    return next((one_line(name) for name, value in floats if is_bad(numpy_helper.to_array(value)).any()), None)


def find_image_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The graph inputs that are no weights."""
    weights = {value.name for value in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def find_softmax_input(model: onnx.ModelProto) -> str | None:
    """Name of the value that goes into the final softmax; None where the output does not come out of a softmax."""
    makers = _map_makers(model)
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in RESHAPING:
        node = makers.get(node.input[0])
    return node.input[0] if node is not None and node.op_type == "Softmax" else None


def find_squashing_operator(model: onnx.ModelProto) -> str | None:
    """The softmax or sigmoid between the last weights and the output, if there is one."""
    makers = _map_makers(model)
    todo, seen = [model.graph.output[0].name], set[str]()
    while todo:
        name = todo.pop()
        node = None if name in seen else makers.get(name)
        seen.add(name)
        if node is not None and node.op_type in SQUASHING:
            return str(node.op_type)
        if node is not None and not any(part in node.op_type for part in WEIGHING):
            todo.extend(node.input)
    return None


def _map_makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each value, by the value's name."""
    return {output: node for node in model.graph.node for output in node.output}


def find_rounding_operator(model: onnx.ModelProto) -> str | None:
    """The first operator that works on 8 bits or casts to 16."""
    for node in model.graph.node:
        to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), 0)
        if to in HALVES or any(part in node.op_type for part in ROUNDING):
            return str(node.op_type)
    return None


def remove_dropout(model: onnx.ModelProto) -> None:
    """Remove the Dropout nodes, which do nothing at test."""
    for node in [node for node in model.graph.node if node.op_type == "Dropout"]:
        model.graph.node.remove(node)
        replace_input(model.graph.node, node.output[0], node.input[0])
        for output in model.graph.output:
            output.name = node.input[0] if output.name == node.output[0] else output.name


def prune_graph(model: onnx.ModelProto, output: str) -> None:
    """Remove the nodes and weights that the value `output` does not need, also where older files list such an input."""
    needed, kept = {output}, list[onnx.NodeProto]()
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    unneeded = [value for value in model.graph.initializer if value.name not in needed]
    names = {value.name for value in unneeded}
    for value in unneeded:
        model.graph.initializer.remove(value)
    for taken in [taken for taken in model.graph.input if taken.name in names]:
        model.graph.input.remove(taken)


def strip_exporter_notes(model: onnx.ModelProto) -> None:
    """Remove stack traces and paths that an exporter leaves in the nodes."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def expose_value(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy of the model with one more of its values as an output."""
    copy = deepcopy(model)
    copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return copy
