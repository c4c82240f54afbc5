"""Place: where the batch lies in a value of a graph whose batch is fixed. Step: a node of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import onnx
from onnx import TensorProto, helper, numpy_helper

Shapes = Mapping[str, tuple[int, ...]]


class FixedBatch(Exception):
    """An operator whose output has no place for a batch of any size."""


class Place(NamedTuple):
    """The batch N is a part of the side of `axis`, which is outer * N * inner."""

    axis: int
    outer: int = 1


@dataclass(frozen=True)
class Step:
    """A node that takes values of the images, in a graph whose batch is fixed."""

    node: onnx.NodeProto
    shapes: Shapes  # of all values
    constants: Mapping[str, TensorProto]
    places: Mapping[str, Place]  # of the values of the images
    batch: int

    @property
    def first(self) -> str:
        """The first input."""
        return str(self.node.input[0])

    def read(self, name: str, default: Any = None) -> Any:
        """An attribute of the node."""
        found = (helper.get_attribute_value(each) for each in self.node.attribute if each.name == name)
        return next(found, default)

    def read_list(self, name: str, index: int, default: Sequence[int] | None = None) -> list[int]:
        """Whole numbers that are the attribute `name`, or the input `index` in newer opsets. Raises FixedBatch."""
        stated: list[int] | None = self.read(name)
        if stated is None and len(self.node.input) > index and self.node.input[index]:
            stored = self.constants.get(self.node.input[index])
            stated = None if stored is None else numpy_helper.to_array(stored).ravel().tolist()
            default = None
        found = default if stated is None else stated
        if found is None:
            raise FixedBatch
        return list(found)

    def take_first(self) -> Place:
        """The place in the first input, which is the only one of the images. Raises FixedBatch."""
        if self.first not in self.places or any(name in self.places for name in self.node.input[1:]):
            raise FixedBatch
        return self.places[self.first]

    def normalize(self, axes: Sequence[int], rank: int) -> set[int]:
        """The axes, counted from the first."""
        return {axis % rank for axis in axes}
