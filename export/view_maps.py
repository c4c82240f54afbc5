"""ViewMaps: the maps of one layer for all views, of which places that the views share are computed once.

A view is a crop of an image. Away from the crop's edges its map is that of the whole image, cut out. Along the edges
lie frames of places whose windows see the zeros around the crop, and so have values of their own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Self

from tencrop.export.graph_builder import GraphBuilder
from tencrop.export.window import Window

FRONT = "tencrop/"  # prefix of the nodes around the net

Pair = tuple[int, int]
Zeros = tuple[int, int, int, int]  # above, left, below, right
AddWindow = Callable[[str, str, Zeros], str]
NO_ZEROS = (0, 0, 0, 0)


@dataclass(frozen=True)
class Rectangle:
    """Places of a view's map: rows and columns, each from a first one to one behind the last."""

    rows: Pair
    columns: Pair

    @property
    def places(self) -> int:
        """Number of places."""
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])


@dataclass(frozen=True)
class ViewMaps:
    """Square maps of the same layer for V views: crops of S images, each cut at every corner.

    `whole` names the maps of the images, [S*N,K,`extent`,`extent`]. `frames` names what each view has of its own, from
    the top and the bottom over all columns, then from the left and the right: [V*N,K,height,width], the corner
    outermost, then the image. A frame that would be empty is left out.
    """

    whole: str
    extent: int  # places along a side of `whole`
    side: int  # places along a side of a view's map
    before: int  # places at the top and at the left that are in frames
    behind: int  # places at the bottom and at the right that are in frames
    corners: tuple[Pair, ...]  # row and column of `whole` where each view's map begins; negative if in its frame
    frames: Mapping[str, str]

    @property
    def inside(self) -> Pair:
        """The rows, and the columns, that all views share."""
        return self.before, self.side - self.behind

    @property
    def rectangles(self) -> dict[str, Rectangle]:
        """The place of each frame, by its name."""
        all_of, inside, end = (0, self.side), self.inside, (self.side - self.behind, self.side)
        places = {
            "top": Rectangle((0, self.before), all_of),
            "bottom": Rectangle(end, all_of),
            "left": Rectangle(inside, (0, self.before)),
            "right": Rectangle(inside, end),
        }
        return {name: rectangle for name, rectangle in places.items() if rectangle.places}

    @property
    def share(self) -> float:
        """Places that are computed, as a part of those that all views have."""
        computed = self.extent**2 + len(self.corners) * sum(each.places for each in self.rectangles.values())
        return computed / (len(self.corners) * self.side**2)

    def predict(self, window: Window) -> Self | None:
        """The sizes behind a window, still without values; None where the views share no place of them."""
        start = self._find_start(window)
        first, last = self.inside
        before = ceil((first + window.before) / window.stride)
        end = (last + window.before - window.size) // window.stride + 1
        if start is None or before >= end:
            return None
        side = window.count(self.side)
        corners = tuple(
            ((row - window.before) // window.stride, (column - window.before) // window.stride)
            for row, column in self.corners
        )
        extent = (self.extent - start - window.size) // window.stride + 1
        return replace(self, extent=extent, side=side, before=before, behind=side - end, corners=corners, frames={})

    def slide(self, graph: GraphBuilder, name: str, window: Window, add: AddWindow) -> Self:
        """Add a windowed operation for the images and for the frames of all views.

        add: (name of the part, its input, zeros above, left, below and right of it) -> the new value.
        """
        behind = self.predict(window)
        start = self._find_start(window)
        assert behind is not None and start is not None, "the views share no place"
        rest = Rectangle((start, self.extent), (start, self.extent))
        whole = add_cut(graph, f"{name}/from", self.whole, rest, 0, 0) if start else self.whole
        frames = {}
        for part, place in behind.rectangles.items():
            top, bottom, rows = self._reach(window, place.rows)
            left, right, columns = self._reach(window, place.columns)
            x = self.cut(graph, f"{name}/{part}.of", Rectangle(rows, columns))
            frames[part] = add(part, x, (top, left, bottom, right))
        return replace(behind, whole=add("whole", whole, NO_ZEROS), frames=frames)

    def _find_start(self, window: Window) -> int | None:
        """The first place of `whole` that a window of every view may begin at; None where they lie between strides."""
        starts = {(place - window.before) % window.stride for corner in self.corners for place in corner}
        return starts.pop() if len(starts) == 1 else None

    def _reach(self, window: Window, span: Pair) -> tuple[int, int, Pair]:
        """(zeros before, zeros behind, places) that the windows of a span of places see."""
        first = span[0] * window.stride - window.before
        last = (span[1] - 1) * window.stride - window.before + window.size
        return max(0, -first), max(0, last - self.side), (max(0, first), min(last, self.side))

    def cut(self, graph: GraphBuilder, name: str, place: Rectangle) -> str:
        """Add the nodes that put a rectangle of every view together: [V*N,K,height,width]."""
        bands = []
        for band, rows in self._split(place.rows, ("top", "middle", "bottom")):
            parts = [(band, place.columns)]
            if band == "middle":
                parts = list(self._split(place.columns, ("left", "inside", "right")))
            cuts = [self._cut_part(graph, f"{name}/{part}", part, Rectangle(rows, columns)) for part, columns in parts]
            bands.append(_join(graph, f"{name}/{band}", cuts, axis=3))
        return _join(graph, name, bands, axis=2)

    def _split(self, span: Pair, names: tuple[str, str, str]) -> Iterator[tuple[str, Pair]]:
        """The parts of a span that lie before, inside and behind what is shared."""
        ends = (0, *self.inside, self.side)
        for name, first, last in zip(names, ends[:-1], ends[1:], strict=True):
            part = max(span[0], first), min(span[1], last)
            if part[0] < part[1]:
                yield name, part

    def _cut_part(self, graph: GraphBuilder, name: str, part: str, place: Rectangle) -> str:
        if part == "inside":
            cuts = [
                add_cut(graph, f"{name}{index}", self.whole, place, -row, -column)
                for index, (row, column) in enumerate(self.corners)
            ]
            return _join(graph, name, cuts, axis=0)
        frame = self.rectangles[part]
        if frame == place:
            return self.frames[part]
        return add_cut(graph, name, self.frames[part], place, frame.rows[0], frame.columns[0])

    def map(self, add: Callable[[str, str], str]) -> Self:
        """Add an operation on each place by itself. add: (name of the part, its value) -> the new value."""
        frames = {name: add(name, value) for name, value in self.frames.items()}
        return replace(self, whole=add("whole", self.whole), frames=frames)


def _join(graph: GraphBuilder, name: str, parts: list[str], axis: int) -> str:
    """Add a Concat where there are several parts."""
    return parts[0] if len(parts) == 1 else graph.add_node("Concat", name, *parts, axis=axis)


def add_cut(graph: GraphBuilder, name: str, x: str, place: Rectangle, top: int, left: int) -> str:
    """Add a node that cuts a rectangle out of every map of `x`, whose first place is (top, left)."""
    (first_row, last_row), (first_column, last_column) = place.rows, place.columns
    starts, ends = [first_row - top, first_column - left], [last_row - top, last_column - left]
    return graph.add_slice(name, x, starts, ends, [2, 3], [1, 1])
