"""Lets the ten views share the stem of a net: its first convolution, LRN and pooling. The result is exact.

Sharing needs views whose corners are multiples of the stem's stride (conv 4 x pool 2 = 8 pixels), and a mean that is
subtracted before cropping. A view's pooled values are then those of the whole image, cut out at corner / 8. The last
row and column are different: their windows reach into the zeros beyond the crop. They are computed from thin strips.
Two passes over 256x256 (the image and its mirror image) and the strips replace ten passes over 224x224.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import onnx
from onnx import helper

from tencrop.export.graph_builder import GraphBuilder

FRONT = "tencrop/"  # prefix of the nodes around the net
POINTWISE = ("Relu", "Tanh", "LRN")  # operators that compute each place of a map by itself


@dataclass(frozen=True)
class Stem:
    """The first nodes of a net up to its first pooling, with the size of their windows in pixels."""

    nodes: tuple[onnx.NodeProto, ...]
    stride: int  # pixels between two pooled values
    inside: int  # pooled values along a side of a crop that do not see the zeros behind the crop
    behind: int  # pooled values along a side that do

    def add_copy(self, graph: GraphBuilder, name: str, x: str) -> str:
        """Add the same operations once more, on `x`; returns the name of their output."""
        for position, node in enumerate(self.nodes):
            copy = deepcopy(node)
            copy.input[0], copy.output[0] = x, f"{FRONT}{name}.{node.name or position}"
            copy.name = x = copy.output[0]
            graph.nodes.append(copy)
        return x

    @property
    def output(self) -> str:
        """Name of the value that the rest of the net starts from."""
        return str(self.nodes[-1].output[0])


def find_stem(net: onnx.ModelProto, crop: int) -> Stem | None:
    """The stem of a net that begins with one chain Conv, pointwise operators, MaxPool; None for any other net.

    The convolution must be padded behind the crop and nowhere else.
    """
    chain = _find_chain(net)
    if chain is None:
        return None
    kernel, stride, pads = _read_window(chain[0])
    size, step, pool_pads = _read_window(chain[-1])
    if pads[0] or pads[1] or pads[2] != pads[3] or any(pool_pads) or kernel < stride or size < step:
        return None
    mapped = (crop + pads[2] - kernel) // stride + 1  # values of the convolution along a side
    pooled = -((size - mapped) // step) + 1  # rounded up
    clean = (crop - kernel) // stride + 1  # values of the convolution that do not see the zeros
    inside = (clean - size) // step + 1
    behind = pooled - inside
    return Stem(tuple(chain), stride * step, inside, behind) if inside > 0 and behind > 0 else None


def _find_chain(net: onnx.ModelProto) -> list[onnx.NodeProto] | None:
    """The first nodes Conv, pointwise operators, MaxPool, where each has one user; else None."""
    chain: list[onnx.NodeProto] = []
    value = net.graph.input[0].name
    while not chain or chain[-1].op_type != "MaxPool":
        users = [node for node in net.graph.node if value in node.input]
        if len(users) != 1 or users[0].op_type not in (*POINTWISE, "Conv", "MaxPool"):
            return None
        chain.append(users[0])
        value = users[0].output[0]
    is_conv = [node.op_type == "Conv" for node in chain]
    return chain if is_conv[0] and not any(is_conv[1:]) else None


def _read_window(node: onnx.NodeProto) -> tuple[int, int, tuple[int, ...]]:
    """(size, stride, pads) of a square Conv or MaxPool; pads of 1 on each side for a window of another kind."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    size, stride = values.get("kernel_shape", [0]), values.get("strides", [1])
    is_square = (
        len({*size}) == len({*stride}) == 1
        and {*values.get("dilations", [1])} == {1}
        and values.get("auto_pad", b"NOTSET") == b"NOTSET"
    )
    is_rounded_up = node.op_type == "Conv" or values.get("ceil_mode") == 1
    pads = tuple(values.get("pads", (0, 0, 0, 0)))
    return size[0], stride[0], pads if is_square and is_rounded_up else (1, 1, 1, 1)


def add_shared_stem(
    graph: GraphBuilder, stem: Stem, sources: Sequence[str], corners: Sequence[tuple[str, int, int]], crop: int
) -> str:
    """Add the stem's values for every view, [views*N,K,P,P], the view outermost.

    sources: the images that views are cut from, float [N,3,R,R]; corners: (source, top, left) of each view.
    """
    edge = stem.inside * stem.stride
    place = {source: index for index, source in enumerate(sources)}
    wholes = [stem.add_copy(graph, f"whole{index}", source) for index, source in enumerate(sources)]
    body, right, bottom = [], [], []
    for view, (source, top, left) in enumerate(corners):
        row, column = top // stem.stride, left // stem.stride
        square = (row, column, row + stem.inside, column + stem.inside)
        body.append(add_crop(graph, f"body{view}", wholes[place[source]], *square))
        right.append(add_crop(graph, f"right{view}", source, top, left + edge, top + crop, left + crop))
        bottom.append(add_crop(graph, f"bottom{view}", source, top + edge, left, top + crop, left + crop))
    strips = [
        stem.add_copy(graph, name, graph.add_node("Concat", f"{FRONT}{name}", *parts, axis=0))
        for name, parts in (("right", right), ("bottom", bottom))
    ]
    beside = add_crop(graph, "beside", strips[0], 0, 0, stem.inside, stem.behind)
    wide = graph.add_node(
        "Concat", f"{FRONT}wide", graph.add_node("Concat", f"{FRONT}body", *body, axis=0), beside, axis=3
    )
    return graph.add_node("Concat", f"{FRONT}pooled", wide, strips[1], axis=2)


def add_crop(graph: GraphBuilder, name: str, x: str, top: int, left: int, bottom: int, right: int) -> str:
    """Add a node that cuts a rectangle out of every map."""
    return graph.add_slice(FRONT + name, x, [top, left], [bottom, right], [2, 3], [1, 1])
