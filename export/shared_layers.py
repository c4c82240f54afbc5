"""Lets the ten views share the first layers of a net. The result is exact.

Where a window does not see the zeros around a crop, its value is the same in every crop that contains it. So these
values are computed once, on the whole image and on its mirror image, and only the frames along the edges of the crops
are computed for each view (export/view_maps.py). This needs a mean that is subtracted before cropping, and crops that
lie a multiple of each layer's stride apart. Sharing ends before the first operation that combines places in another
way, and before the first convolution whose frames leave too little to share.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import onnx
from onnx import helper, numpy_helper

from tencrop.export.graph_builder import GraphBuilder
from tencrop.export.view_maps import FRONT, NO_ZEROS, ViewMaps, Zeros
from tencrop.export.window import WINDOWED, Window

WORTH = 0.8  # a convolution is shared where at most this part of its places is left to compute
QUANTIZATION = ("QuantizeLinear", "DequantizeLinear")  # they stay right before the product that they are for
POINTWISE = ("Relu", "Tanh", "LRN")  # operators on each place by itself
ARITHMETIC = ("Add", "Sub", "Mul", "Div")  # the same, where their other operand is equal at all places


@dataclass(frozen=True)
class Step:
    """A node that the views share, behind the nodes that quantize its input."""

    takes: str  # the value that the first node takes from the step before
    nodes: tuple[onnx.NodeProto, ...]
    window: Window | None  # None: an operation on each place by itself

    @property
    def gives(self) -> str:
        """The value that the next step takes."""
        return str(self.nodes[-1].output[0])

    def add(self, graph: GraphBuilder, maps: ViewMaps) -> ViewMaps:
        """Add the operation for the images and for the frames of all views."""
        layer = FRONT + self.gives.split("/", 1)[-1]

        def add_part(part: str, x: str, zeros: Zeros = NO_ZEROS) -> str:
            return self._add_copies(graph, f"{layer}/{part}", x, zeros)

        return maps.slide(graph, layer, self.window, add_part) if self.window else maps.map(add_part)

    def _add_copies(self, graph: GraphBuilder, name: str, x: str, zeros: Zeros) -> str:
        """Add the nodes once more, on `x`, the last one with these zeros around it."""
        value = self.takes
        for node in self.nodes:
            copy = deepcopy(node)
            copy.input[:] = [x if taken == value else taken for taken in node.input]
            value, x = node.output[0], name if node.output[0] == self.gives else f"{name}.{node.op_type}"
            copy.name = copy.output[0] = x
            graph.nodes.append(copy)
        kept = [attribute for attribute in copy.attribute if attribute.name != "pads"]
        del copy.attribute[:]
        copy.attribute.extend([*kept, *([helper.make_attribute("pads", zeros)] if any(zeros) else [])])
        return x


def find_shared_layers(net: onnx.ModelProto, maps: ViewMaps) -> list[Step]:
    """The layers that views share, without any where no convolution is. maps: the sizes of the net's input."""
    steps: list[Step] = []
    waiting: list[onnx.NodeProto] = []  # nodes that quantize
    value = net.graph.input[0].name
    for node in _follow_chain(net):
        waiting.append(node)
        if node.op_type in QUANTIZATION:
            continue
        window = _read_window(node, net)
        behind = maps.predict(window) if window else maps
        is_known = window is not None or _is_pointwise(node, net)
        if not is_known or behind is None or (node.op_type == "Conv" and behind.share > WORTH):
            break
        steps.append(Step(value, tuple(waiting), window))
        maps, waiting, value = behind, [], node.output[0]
    return steps if any(step.nodes[-1].op_type == "Conv" for step in steps) else []


def _follow_chain(net: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The first nodes, as long as each is the only one that takes the value of the one before, and takes no other."""
    value = net.graph.input[0].name
    computed = {value, *(name for node in net.graph.node for name in node.output)}
    while True:
        users = [node for node in net.graph.node if value in node.input]
        if len(users) != 1 or len(users[0].output) != 1 or len(computed.intersection(users[0].input)) != 1:
            return
        yield users[0]
        value = users[0].output[0]


def _read_window(node: onnx.NodeProto, net: onnx.ModelProto) -> Window | None:
    if node.op_type not in WINDOWED:
        return None
    kernels = [tuple(tensor.dims[2:]) for tensor in net.graph.initializer if tensor.name in node.input[1:2]]
    return Window.read(node, *kernels)


def _is_pointwise(node: onnx.NodeProto, net: onnx.ModelProto) -> bool:
    constants = [tensor for tensor in net.graph.initializer if tensor.name in node.input]
    if node.op_type == "Reshape":  # [-1,maps,0,0]: the sides stay
        return len(constants) == 1 and numpy_helper.to_array(constants[0])[2:].tolist() == [0, 0]
    if node.op_type in ARITHMETIC:
        return len(constants) == 1 and all(side == 1 for side in constants[0].dims[-2:])
    return node.op_type in POINTWISE
