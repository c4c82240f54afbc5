"""Source -> net.onnx: RGB crops with the mean subtracted in, logits out, whatever the source's own convention is.

What lies between the two forms is put in front of the net as nodes (a factor for each channel, the order of channels, the
layout) and not folded into its weights: that is exact for every first layer, and costs little beside a convolution.
"""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from tencrop.common.errors import BadInput, one_line
from tencrop.export.graph_builder import GraphBuilder, replace_input
from tencrop.export.importers.graph_rewrite import (
    collect_constants,
    find_image_inputs,
    find_softmax_input,
    free_batch_size,
    prune_graph,
    remove_dropout,
    strip_exporter_notes,
    upgrade_opset,
)
from tencrop.export.importers.input_convention import SIDES, InputConvention
from tencrop.export.importers.pixels import PixelTransform
from tencrop.export.importers.source_net import SourceNet
from tencrop.model.filter_picture import draw_filters

PREFIX = "source/"  # of the source's own nodes
TINY = float(np.finfo(np.float32).tiny)  # stands for a probability of 0, which has no logarithm
COMMON = 224  # pixels a side of what most nets see
TYPES = {number: name for name, number in TensorProto.DataType.items()}
DRAWABLE = (1024, 64)  # kernels and their side, at most
NONE_TO_DRAW = np.zeros((1, 3, 8, 8), np.float32)


@dataclass(frozen=True)
class SourceInput:
    """How images go into a source."""

    name: str
    batch: int  # 0: any
    layout: str
    crop: int
    assumed: tuple[str, ...] = ()  # a line for each thing that neither the user nor the file said

    @property
    def batch_limit(self) -> str:
        """What it means if a batch of any size is refused."""
        return (
            f"its batch is fixed to {self.batch} and cannot be made any"
            if self.batch
            else "it does not take a batch of any size"
        )


def read_source_input(source: SourceNet, options: InputConvention) -> SourceInput:
    """Raises BadInput where the graph is none from one batch of square colour images to one answer."""
    path, graph = source.path, source.model.graph
    inputs = find_image_inputs(source.model)
    if len(inputs) != 1 or len(graph.output) != 1:
        names = f"inputs {_names(inputs)}, outputs {_names(graph.output)}"
        raise BadInput(f"{path}: an image classifier has one input and one output; this one has {names}")
    tensor = inputs[0].type.tensor_type
    sides = [side.dim_value for side in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT or len(sides) != 4:
        kind = TYPES.get(tensor.elem_type, f"of type {tensor.elem_type}").lower()
        raise BadInput(
            f"{path}: its input is {kind} {sides} (0: any); expected float images [N,3,height,width] or [N,height,width,3]"
        )
    layout = options.layout or ("nhwc" if sides[3] == 3 and sides[1] != 3 else "nchw")
    channels, *square = (sides[1], sides[2], sides[3]) if layout == "nchw" else (sides[3], sides[1], sides[2])
    if channels not in (0, 3):
        raise BadInput(f"{path}: its input {sides} has {channels} channels in layout {layout}; expected 3")
    told = {side for side in square if side}
    if len(told) > 1 or not told <= set(SIDES):
        raise BadInput(
            f"{path}: takes images of {square[0]}x{square[1]}; expected squares of {SIDES[0]} to {SIDES[-1]}"
        )
    crop = options.crop or next(iter(told), COMMON)
    if not told <= {crop}:
        raise BadInput(f"--crop {crop}: {path} takes images of {max(told)}x{max(told)}")
    lines = (
        (options.layout is None and not channels, f"images as [N,3,{crop},{crop}] (--layout)"),
        (options.crop is None and not told, f"views of {crop} pixels (--crop)"),
    )
    return SourceInput(inputs[0].name, sides[0], layout, crop, tuple(line for assumed, line in lines if assumed))


def _names(values: object) -> str:
    return "[" + ", ".join(value.name for value in values) + "]"  # type: ignore[attr-defined]


def convert_to_net(
    source: SourceNet, source_input: SourceInput, pixels: PixelTransform, classes: int, output: str
) -> onnx.ModelProto:
    """`input` float32 [N,3,crop,crop] RGB, mean subtracted -> `logits` float32 [N,classes].

    output: "logits" or "probabilities"; a softmax at the end is taken off, where there is none the logits are log(p).
    """
    path = str(source.path)
    model = upgrade_opset(source.model, path)
    answer = find_softmax_input(model) if output == "probabilities" else None
    strip = answer is not None
    answer = answer or model.graph.output[0].name
    given = deepcopy(model)
    free_batch_size(given)
    prune_graph(given, answer)
    given.graph.output[0].name = answer
    remove_dropout(given)
    given = onnx.compose.add_prefix(given, PREFIX)
    graph = GraphBuilder()
    front = _front(graph, pixels)
    graph.initializers.extend(given.graph.initializer)
    replace_input(given.graph.node, PREFIX + source_input.name, front)
    graph.nodes.extend(strip_exporter_notes(given.graph.node))
    flat = graph.add_node("Flatten", "flat", given.graph.output[0].name, axis=1)
    if output == "probabilities" and not strip:
        flat = graph.add_node(
            "Log",
            "log",
            graph.add_node("Max", "positive", flat, graph.add_constant("tiny", np.array(TINY, np.float32))),
        )
    graph.add_node("Identity", "logits", flat)
    try:
        return graph.build("net", {"input": ("N", 3, source_input.crop, source_input.crop)}, {"logits": ("N", classes)})
    except Exception as error:  # of several types
        raise BadInput(f"{path}: {source_input.batch_limit}: {one_line(error)}") from None


def _front(graph: GraphBuilder, pixels: PixelTransform) -> str:
    """RGB planes, the mean subtracted -> what the source takes; nothing where that is the same."""
    x = "input"
    if not (pixels.rgb_factor == 1).all():
        x = graph.add_node("Mul", "scaled", x, graph.add_constant("factor", pixels.rgb_factor))
    if pixels.channels == "bgr":
        x = graph.add_slice("bgr", x, [2], [-4], [1], [-1])
    if pixels.layout == "nhwc":
        x = graph.add_node("Transpose", "nhwc", x, perm=[0, 2, 3, 1])
    return x


def draw_first_kernels(model: onnx.ModelProto, channels: str) -> bytes:
    """The kernels of the first convolution over three channels, drawn as RGB; a dark square where there is none to draw."""
    stored, kernels = collect_constants(model), NONE_TO_DRAW
    for node in model.graph.node:
        weights = stored.get(node.input[1]) if node.op_type == "Conv" else None
        if weights is not None and list(weights.dims[1:2]) == [3] and len(weights.dims) == 4:
            many, _, *sides = weights.dims
            if many <= DRAWABLE[0] and max(sides) <= DRAWABLE[1]:
                kernels = numpy_helper.to_array(weights).astype(np.float32)
                kernels = kernels[:, ::-1] if channels == "bgr" else kernels
            break
    return draw_filters(kernels)
