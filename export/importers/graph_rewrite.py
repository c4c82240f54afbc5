"""What an importer does to a graph that somebody else wrote: newer operators, any batch, no more nodes than the answer takes."""

from collections.abc import Iterator, Mapping
from copy import deepcopy

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference, version_converter

from tencrop.common.errors import BadInput, one_line
from tencrop.export.graph_builder import OPSET, replace_input

PASSING = ("Identity", "Flatten", "Reshape", "Squeeze")  # an answer may go through these behind its softmax
SQUASHING = ("Softmax", "Sigmoid", "HardSigmoid")  # scores into 0..1
WEIGHING = ("Conv", "Gemm", "MatMul", "Einsum")  # parts of the names of operators that scores come out of
ROUNDING = ("Quantize", "QLinear", "Integer")  # parts of the names of operators on 8 bits
HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
LITERALS: Mapping[str, type] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def upgrade_opset(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """The same net in opset 20. Raises BadInput where an operator has no such form."""
    try:
        version = next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), 1)
        return model if version == OPSET else version_converter.convert_version(model, OPSET)
    except Exception as error:  # a type of its own for every operator
        raise BadInput(
            f"{source}: cannot be brought to opset {OPSET}: {one_line(error)}; export it with that opset"
        ) from None


def collect_constants(model: onnx.ModelProto) -> Mapping[str, TensorProto]:
    """Initializers and Constant nodes by name."""
    stored = {value.name: value for value in model.graph.initializer}
    for node in model.graph.node:
        told = node.attribute[0] if node.op_type == "Constant" else None
        if told and told.HasField("t"):
            stored[node.output[0]] = told.t
        elif told and told.name in LITERALS:
            stored[node.output[0]] = numpy_helper.from_array(
                np.array(helper.get_attribute_value(told), LITERALS[told.name])
            )
    return stored


def find_image_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are no weights."""
    weights = {value.name for value in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def find_softmax_input(model: onnx.ModelProto) -> str | None:
    """What goes into the softmax that the answer comes out of; None where it comes out of none."""
    makers = {output: node for node in model.graph.node for output in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in PASSING:
        node = makers.get(node.input[0])
    return node.input[0] if node is not None and node.op_type == "Softmax" else None


def find_squashing_operator(model: onnx.ModelProto) -> str | None:
    """The softmax or sigmoid that the answer goes through behind the last weights, if there is one."""
    makers = {output: node for node in model.graph.node for output in node.output}
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


def find_rounding_operator(model: onnx.ModelProto) -> str | None:
    """The first operator that works on 8 bits, or that takes numbers to 16."""
    for node in model.graph.node:
        to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), 0)
        if to in HALVES or any(part in node.op_type for part in ROUNDING):
            return str(node.op_type)
    return None


def remove_dropout(model: onnx.ModelProto) -> None:
    """Take out the nodes that do nothing at test."""
    for node in [node for node in model.graph.node if node.op_type == "Dropout"]:
        model.graph.node.remove(node)
        replace_input(model.graph.node, node.output[0], node.input[0])
        for given in model.graph.output:
            given.name = node.input[0] if given.name == node.output[0] else given.name


def prune_graph(model: onnx.ModelProto, answer: str) -> None:
    """Keep only what `answer` is made from."""
    needed, kept = {answer}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    for value in [value for value in model.graph.initializer if value.name not in needed]:
        model.graph.initializer.remove(value)


def free_batch_size(model: onnx.ModelProto) -> None:
    """Let a graph of a fixed batch take any, as far as its Reshape nodes are what fixes it; the gate sees whether that was all."""
    taken = find_image_inputs(model)[0].type.tensor_type.shape.dim[0]
    batch = taken.dim_value
    shapes = _shapes(model) if batch else {}
    stored = collect_constants(model)
    for node in list(model.graph.node) if batch else ():
        if node.op_type == "Reshape" and node.input[0] in shapes and node.input[1] in stored:
            shape = numpy_helper.to_array(stored[node.input[1]])
            if len(shape) > 1 and shape[0] == batch and shapes[node.input[0]][:1] == (batch,):
                name = f"{node.output[0]}/any_batch"
                node.input[1] = name
                model.graph.initializer.append(
                    numpy_helper.from_array(_free(shape, shapes.get(node.output[0], ())), name)
                )
    taken.dim_param = "N"
    del model.graph.value_info[:]


def _free(shape: np.ndarray, inferred: tuple[int, ...]) -> np.ndarray:
    """A shape whose first side is left open."""
    rest = shape[1:]
    if -1 not in rest:
        return np.array([-1, *rest], np.int64)
    if len(inferred) == len(shape) and all(inferred[1:]):
        return np.array([-1, *inferred[1:]], np.int64)
    return np.array([0, *rest], np.int64)  # 0: as it comes in


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Of the values that images go through; 0 for a side that is not known."""
    inferred = shape_inference.infer_shapes(model)
    through = {find_image_inputs(model)[0].name}
    for node in model.graph.node:
        if through.intersection(node.input):
            through.update(node.output)
    known = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    return {
        value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in known
        if value.name in through
    }


def strip_exporter_notes(nodes: Iterator[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Without what an exporter tells of itself: stack traces, paths."""
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        yield node


def expose_value(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model, telling one more of its values."""
    copy = deepcopy(model)
    copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return copy
