"""Window: the sizes of a convolution or a pooling, along each side of a map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

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
    rounds_up: bool  # a last window that begins on the map and ends beyond it counts

    @classmethod
    def read(cls, node: onnx.NodeProto, kernel: Sequence[int] = ()) -> Self | None:
        """The window of a Conv or MaxPool; None where it is not square, dilated, or padded in another way.

        Nor may a window lie in the zeros alone.
        kernel: the sides of a Conv's kernels, which the node need not state.
        """
        values: dict[str, Any] = {"kernel_shape": kernel, "strides": (1, 1), "pads": (0, 0, 0, 0)}
        values |= {a.name: helper.get_attribute_value(a) for a in node.attribute}
        sides, steps, pads = (tuple(values[key]) for key in ("kernel_shape", "strides", "pads"))
        is_square = (
            len(sides) == 2
            and sides == sides[:1] * 2
            and steps == steps[:1] * 2
            and pads == (pads[:1] * 2 + pads[-1:] * 2)
            and max(pads) < sides[0]
        )
        is_plain = {*values.get("dilations", [1])} == {1} and values.get("auto_pad", b"NOTSET") == b"NOTSET"
        is_zero = node.op_type == "Conv" or not any(pads)  # a pooling does not pad with zeros
        if not (is_square and is_plain and is_zero):
            return None
        return cls(sides[0], steps[0], pads[0], pads[-1], values.get("ceil_mode") == 1)

    def count(self, side: int) -> int:
        """Places along a side of the output, for `side` places of the input."""
        reach = self.before + side + self.behind
        places = (reach - self.size) // self.stride + 1
        has_part = self.rounds_up and self.size + (places - 1) * self.stride < reach and places * self.stride < reach
        return places + has_part
