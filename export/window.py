"""Window: the sizes of a convolution or a pooling, along each side of a map."""

from dataclasses import dataclass
from math import ceil, floor
from typing import Self

import onnx
from onnx import helper

WINDOWED = ("Conv", "MaxPool")  # operators that compute a place of a map from a window of places


@dataclass(frozen=True)
class Window:
    """A square window of `size` places, which moves by `stride`; `before` and `behind`: zeros around the map."""

    size: int
    stride: int
    before: int  # above and left
    behind: int  # below and right
    rounds_up: bool  # a last window that lies only partly on the map counts

    @classmethod
    def read(cls, node: onnx.NodeProto) -> Self | None:
        """The window of a Conv or MaxPool; None where it is not square, dilated, or padded in another way."""
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        size, stride = values.get("kernel_shape", [0]), values.get("strides", [1])
        top, left, bottom, right = values.get("pads", (0, 0, 0, 0))
        is_square = len({*size}) == len({*stride}) == 1 and (top, bottom) == (left, right)
        is_plain = {*values.get("dilations", [1])} == {1} and values.get("auto_pad", b"NOTSET") == b"NOTSET"
        is_zero = node.op_type == "Conv" or top == bottom == 0  # the padding of a pooling is no zero
        if not (is_square and is_plain and is_zero):
            return None
        return cls(size[0], stride[0], top, bottom, values.get("ceil_mode") == 1)

    def count(self, side: int) -> int:
        """Places along a side of the output, for `side` places of the input."""
        steps = (side + self.before + self.behind - self.size) / self.stride
        return (ceil(steps) if self.rounds_up else floor(steps)) + 1
