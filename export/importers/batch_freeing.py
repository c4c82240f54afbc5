"""Lets a graph of a fixed batch size take any: finds where the batch lies in each value, and opens the sides there.

A net that was exported with a batch of 1 has the 1 in its Reshape nodes, in shapes that values are expanded to, and in
constants beside the images' values, such as the class token of a vision transformer.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tencrop.common.errors import one_line
from tencrop.export.importers.batch_place import FixedBatch, Place, Shapes, Step
from tencrop.export.importers.batch_rules import find_places
from tencrop.export.importers.graph_rewrite import collect_constants, find_image_inputs

MAX_STEPS = 100_000  # of the search, which takes back a choice where it leads nowhere


def free_batch(model: onnx.ModelProto) -> None:
    """Let the graph take any batch. Its sides are known, and what depends on no image is constant.

    Raises FixedBatch, naming the operator, where that is not possible.
    """
    image = find_image_inputs(model)[0]
    batch = image.type.tensor_type.shape.dim[0].dim_value
    constants = collect_constants(model)
    shapes = _infer_shapes(model, constants)
    for node in model.graph.node:
        _write_as_reshape(model.graph, node, shapes, constants)
    places = _search(model, shapes, constants, batch)
    steps = [Step(node, shapes, constants, places, batch) for node in model.graph.node]
    nodes = [part for step in steps for part in _open_sides(model.graph, step)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    image.type.tensor_type.shape.dim[0].dim_param = "N"


def _infer_shapes(model: onnx.ModelProto, constants: Mapping[str, TensorProto]) -> Shapes:
    """The sides of each value that are all known."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")  # which a file may state wrongly
    inferred = shape_inference.infer_shapes(bare, data_prop=True).graph
    shapes = {name: tuple(value.dims) for name, value in constants.items()}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(side.dim_value for side in tensor.shape.dim):
            shapes[value.name] = tuple(side.dim_value for side in tensor.shape.dim)
    return shapes


def _write_as_reshape(
    graph: onnx.GraphProto, node: onnx.NodeProto, shapes: Shapes, constants: Mapping[str, TensorProto]
) -> None:
    """Write a Gather of all numbers of a row, in their order, as a Reshape: torch exports `as_strided` so."""
    if node.op_type != "Gather" or node.input[1] not in constants or len(shapes.get(node.input[0], ())) != 1:
        return
    places = numpy_helper.to_array(constants[node.input[1]])
    if places.size == shapes[node.input[0]][0] and (places.ravel() == np.arange(places.size)).all():
        shape = _store(graph, f"{node.output[0]}/shape", np.array(places.shape, np.int64))
        node.CopyFrom(helper.make_node("Reshape", [node.input[0], shape], node.output, name=node.name))


def _search(
    model: onnx.ModelProto, shapes: Shapes, constants: Mapping[str, TensorProto], batch: int
) -> dict[str, Place]:
    """The place of the batch in each value of the images. Raises FixedBatch."""
    image, output = find_image_inputs(model)[0].name, model.graph.output[0].name
    places = {image: Place(0)}
    nodes = list(model.graph.node)
    untried: list[tuple[int, list[Place]]] = []  # nodes with a choice, and their other places
    index = furthest = 0
    for _ in range(MAX_STEPS):
        if index == len(nodes):
            if places.get(output) == Place(0):
                return places
            found: list[Place] = []
        elif places.keys().isdisjoint(nodes[index].input):
            index += 1
            continue
        else:
            found = _find_places(Step(nodes[index], shapes, constants, places, batch))
            furthest = max(furthest, index)
        if not found:
            if not untried:
                break
            index, found = untried.pop()
            for name in (name for node in nodes[index:] for name in node.output):
                places.pop(name, None)
        if found[1:]:
            untried.append((index, found[1:]))
        places.update(dict.fromkeys(nodes[index].output, found[0]))
        index += 1
    node = nodes[furthest]
    raise FixedBatch(f"{node.op_type} {one_line(node.name or node.output[0])!r} takes no other")


def _find_places(step: Step) -> list[Place]:
    inputs = step.node.input[:1] if step.node.op_type == "Reshape" else step.node.input
    is_known = all(name in step.shapes for name in (*inputs, step.node.output[0]) if name)
    return find_places(step) if is_known else []


def _open_sides(graph: onnx.GraphProto, step: Step) -> list[onnx.NodeProto]:
    """The nodes that do the same for any batch."""
    node, place = step.node, step.places.get(step.node.output[0])
    if place is None or node.op_type not in ("Reshape", "Expand", "Concat"):
        return [node]
    if node.op_type == "Concat":
        given = [name for name in node.input if name not in step.places]
        return _pad_and_add(graph, step, given) if given else [node]
    opened = [*step.shapes[node.output[0]]]
    opened[place.axis] = -1 if node.op_type == "Reshape" else 1  # 1: Expand leaves the side as it is
    node.input[1] = _store(graph, f"{node.output[0]}/any_batch", np.array(opened, np.int64))
    return [node]


def _pad_and_add(graph: onnx.GraphProto, step: Step, given: Sequence[str]) -> list[onnx.NodeProto]:
    """Zeros around the images' value, and the constants `given` added to them: a Concat would need one an image."""
    node = step.node
    (taken,) = (name for name in node.input if name in step.places)
    shape, place, output = step.shapes[taken], step.places[taken], node.output[0]
    rank = len(shape)
    axis = step.read("axis") % rank
    one = [1 if index == place.axis else side for index, side in enumerate(shape)]
    stored = {name: numpy_helper.to_array(step.constants[name]).take([0], place.axis) for name in given}
    dtype = next(iter(stored.values())).dtype
    parts = [stored.get(name, np.zeros(one, dtype)) for name in node.input]
    at = list(node.input).index(taken)
    pads = np.zeros((2, rank), np.int64)
    pads[:, axis] = [sum(part.shape[axis] for part in some) for some in (parts[:at], parts[at + 1 :])]
    widths = _store(graph, f"{output}/pads", pads.ravel())
    around = _store(graph, f"{output}/constants", np.concatenate(parts, axis))
    return [
        helper.make_node("Pad", [taken, widths], [f"{output}/padded"], name=f"{output}/pad"),
        helper.make_node("Add", [f"{output}/padded", around], [output], name=f"{output}/add"),
    ]


def _store(graph: onnx.GraphProto, name: str, values: np.ndarray) -> str:
    graph.initializer.append(numpy_helper.from_array(values, name))
    return name
