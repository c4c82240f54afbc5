"""Reads an ONNX file from anywhere as a SourceNet."""

from pathlib import Path

import numpy as np
import onnx
from onnx import inliner

from tencrop.common.errors import BadInput, whole_line
from tencrop.export.importers.external_data import read_external_data
from tencrop.export.importers.graph_rewrite import find_tensor
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.onnxzoo_alexnet import BVLC_INPUT, is_bvlc_alexnet
from tencrop.export.importers.source_net import SourceNet
from tencrop.model.tencropfile import PREFIX, parse_onnx

STANDARD_DOMAINS = ("", "ai.onnx")


def read_onnx(path: Path) -> SourceNet:
    """Read an ONNX file as a SourceNet. Raises BadInput for anything but a whole classifier in ONNX's own operators."""
    try:
        model = parse_onnx(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror})", "name an .onnx, .pth, .ckpt, .safetensors or .caffemodel"
        ) from None
    if any(entry.key.startswith(PREFIX) for entry in model.metadata_props):
        raise BadInput(f"{path}: is a tencrop.onnx already", "serve it as it is")
    _sort_nodes(model)
    model = _inline_functions(model, path)
    read_external_data(model, path)
    _check(model, path)
    _open_unstated_sides(model.graph)
    if is_bvlc_alexnet(model):
        return SourceNet(path, "ONNX Model Zoo's bvlcalexnet", model, BVLC_INPUT)
    return SourceNet(path, "ONNX", model, InputConvention())


def _sort_nodes(model: onnx.ModelProto) -> None:
    """Put each node after those that make its inputs: onnxruntime's converter to fp16 leaves another order."""
    graph = model.graph
    known = {"", *(value.name for value in (*graph.input, *graph.initializer))}
    left, placed = list(graph.node), list[onnx.NodeProto]()
    while left:
        waiting = []
        for node in left:
            if known.issuperset(node.input):
                known.update(node.output)
                placed.append(node)
            else:
                waiting.append(node)
        if len(waiting) == len(left):  # an input is missing: onnx's checker names it
            return
        left = waiting
    del graph.node[:]
    graph.node.extend(placed)


def _inline_functions(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Replace the file's own functions by their nodes. Raises BadInput."""
    try:
        return inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:  # onnx raises several types
        raise BadInput(f"{path}: its functions cannot be written out: {whole_line(error)}") from None


def _open_unstated_sides(graph: onnx.GraphProto) -> None:
    """Leave the sides open that a file states as 0 or less, such as -1: onnxruntime takes any size there."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.HasField("dim_value") and side.dim_value < 1:
                side.Clear()


def _check(model: onnx.ModelProto, path: Path) -> None:
    """Check operators and weights.

    Raises BadInput unless each operator is ONNX's own, without branches, in eval mode and used right, and no weight is
    NaN. An infinity passes: masks hold them.
    """
    foreign = next((node for node in model.graph.node if node.domain not in STANDARD_DOMAINS), None)
    if foreign:
        raise BadInput(
            f"{path}: operator {foreign.op_type} of {foreign.domain!r} is not one of ONNX's own",
            "export it with standard operators",
        )
    branching = next((n for n in model.graph.node if any(a.HasField("g") or a.graphs for a in n.attribute)), None)
    if branching:
        raise BadInput(f"{path}: operator {branching.op_type} branches", "export the net with control flow resolved")
    training = next((n for n in model.graph.node if any(a.name == "training_mode" and a.i for a in n.attribute)), None)
    if training:
        raise BadInput(f"{path}: operator {training.op_type} is in training mode", "export the net in eval mode")
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # a type of its own for every fault
        raise BadInput(f"{path}: not valid ONNX: {whole_line(error)}") from None
    damaged = find_tensor(model, np.isnan)
    if damaged is not None:
        raise BadInput(f"{path}: {damaged!r} holds values that are no numbers", "take a copy of the net that is whole")
