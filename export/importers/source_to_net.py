"""Converts a source net to net.onnx, which takes mean-subtracted RGB crops and returns logits.

Nodes in front of the net make up the difference between the two conventions (a factor for each channel, the order of
channels, the layout). They are not folded into the first layer's weights, because nodes are exact for every first layer
and cost little beside a convolution.
"""

from copy import deepcopy
from typing import NamedTuple

import numpy as np
import onnx

from tencrop.common.errors import BadInput, whole_line
from tencrop.export.graph_builder import GraphBuilder, read_opset, replace_input
from tencrop.export.importers.any_batch import make_any_batch
from tencrop.export.importers.graph_rewrite import (
    find_softmax_input,
    prune_graph,
    remove_dropout,
    strip_exporter_notes,
    upgrade_opset,
)
from tencrop.export.importers.pixels import PixelTransform
from tencrop.export.importers.reference import SourceAnswers, SourceReference
from tencrop.export.parity_gate import TINY

PREFIX = "source/"  # of the names of the source's own nodes


class ConvertedNet(NamedTuple):
    """net.onnx, and lines for a person about how it differs from the source."""

    model: onnx.ModelProto
    notes: tuple[str, ...]


def convert_to_net(reference: SourceReference, answers: SourceAnswers, output: str) -> ConvertedNet:
    """`input` float32 [N,3,crop,crop] RGB, mean subtracted -> `logits` float32 [N,classes].

    output: "logits" or "probabilities". A net that returns probabilities loses its final softmax; where it has none,
    the logits are log(p). Raises BadInput where the graph cannot take any batch size.
    """
    source, source_input = reference.source, reference.source_input
    model = upgrade_opset(source.model, str(source.path))
    softmax_input = find_softmax_input(model) if output == "probabilities" else None
    prepared = _prepare_source(model, softmax_input or model.graph.output[0].name)
    freed, note = make_any_batch(prepared, source_input, reference.make_trial(answers, output), str(source.path))
    given = onnx.compose.add_prefix(freed, PREFIX)
    graph = GraphBuilder(read_opset(model))
    front = _add_front(graph, reference.pixels)
    graph.initializers.extend(given.graph.initializer)
    replace_input(given.graph.node, PREFIX + source_input.name, front)
    graph.nodes.extend(given.graph.node)
    logits = graph.add_node("Flatten", "flat", given.graph.output[0].name, axis=1)
    if output == "probabilities" and softmax_input is None:
        positive = graph.add_node("Max", "positive", logits, graph.add_constant("tiny", np.array(TINY, np.float32)))
        logits = graph.add_node("Log", "log", positive)
    graph.add_node("Identity", "logits", logits)
    crop, classes = source_input.crop, answers.scores.shape[-1]
    try:
        net = graph.build("net", {"input": ("N", 3, crop, crop)}, {"logits": ("N", classes)})
    except Exception as error:  # onnx raises several types
        raise BadInput(f"{source.path}: onnx refuses the net that was made of it: {whole_line(error)}") from None
    return ConvertedNet(net, (note,) if note else ())


def _prepare_source(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """A copy that ends at the value `output`, without what a net at test does not need."""
    copy = deepcopy(model)
    del copy.graph.value_info[:]
    prune_graph(copy, output)
    copy.graph.output[0].name = output
    remove_dropout(copy)
    strip_exporter_notes(copy)
    return copy


def _add_front(graph: GraphBuilder, pixels: PixelTransform) -> str:
    """Add the nodes from mean-subtracted RGB planes to the source's own input; none where both are the same."""
    x = "input"
    if not (pixels.rgb_factor == 1).all():
        x = graph.add_node("Mul", "scaled", x, graph.add_constant("factor", pixels.rgb_factor))
    if pixels.channels == "bgr":
        x = graph.add_slice("bgr", x, [2], [-4], [1], [-1])
    if pixels.layout == "nhwc":
        x = graph.add_node("Transpose", "nhwc", x, perm=[0, 2, 3, 1])
    return x
