"""The rules by which operators move the batch: the places in a node's output for those in its inputs.

A rule holds for images that do not see each other. It refuses an operator that mixes them, or whose output has a
fixed number of them.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

from onnx import numpy_helper

from tencrop.export.importers.batch_place import FixedBatch, Place, Step

BY_PLACE = (  # operators on each number by itself, whose inputs are broadcast
    *("Add", "And", "Cast", "CastLike", "Clip", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Gelu", "Greater"),
    *("GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max"),
    *("Min", "Mish", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sign"),
    *("Softplus", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "Abs", "Where"),
)
BY_IMAGE = (  # operators on maps [N,K,height,width]
    *("AveragePool", "BatchNormalization", "Conv", "DepthToSpace", "GlobalAveragePool", "GlobalMaxPool"),
    *("GroupNormalization", "InstanceNormalization", "LRN", "LpPool", "MaxPool", "SpaceToDepth"),
)
REDUCING = ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
OPEN_END = 2**31 - 1  # of a Slice: exporters write so, or more, for the end of an axis


def find_places(step: Step) -> list[Place]:
    """The places that the batch may have in the outputs of a node, the likeliest first; empty where there is none."""
    rule = RULES.get(step.node.op_type)
    try:
        return rule(step) if rule else []
    except FixedBatch:
        return []


def _broadcast(step: Step) -> list[Place]:
    rank = len(step.shapes[step.node.output[0]])
    places = {(place.axis - len(step.shapes[name]), place.outer) for name, place in _list_taken(step)}
    sides = {step.shapes[name][place.axis] for name, place in _list_taken(step)}
    if len(places) != 1 or len(sides) != 1:
        raise FixedBatch
    from_end, outer = places.pop()
    _check_alike(step, step.node.input, from_end)
    return [Place(rank + from_end, outer)]


def _list_taken(step: Step) -> list[tuple[str, Place]]:
    return [(name, step.places[name]) for name in step.node.input if name in step.places]


def _check_alike(step: Step, names: Sequence[str], from_end: int) -> None:
    """Check that values that are not of the images have one place along an axis. Raises FixedBatch."""
    for name in names:
        shape = step.shapes.get(name, ())
        if name not in step.places and len(shape) >= -from_end and shape[from_end] != 1:
            raise FixedBatch


def _keep_first_axis(step: Step) -> list[Place]:
    place = step.take_first()
    return _require(place.axis == 0, place)


def _require(holds: bool, place: Place) -> list[Place]:
    if not holds:
        raise FixedBatch
    return [place]


def _keep_before_axis(default: int) -> Callable[[Step], list[Place]]:
    """The rule of an operator that works on an axis and on all behind it."""

    def rule(step: Step) -> list[Place]:
        place = step.take_first()
        return _require(place.axis < step.read("axis", default) % len(step.shapes[step.first]), place)

    return rule


def _keep_beside_axis(default: int) -> Callable[[Step], list[Place]]:
    """The rule of an operator that works on one axis."""

    def rule(step: Step) -> list[Place]:
        place = step.take_first()
        return _require(place.axis != step.read("axis", default) % len(step.shapes[step.first]), place)

    return rule


def _reduce(step: Step) -> list[Place]:
    place, rank = step.take_first(), len(step.shapes[step.first])
    axes = step.normalize(step.read_list("axes", 1), rank)
    lost = 0 if step.read("keepdims", 1) else sum(axis < place.axis for axis in axes)
    return _require(place.axis not in axes, place._replace(axis=place.axis - lost))


def _transpose(step: Step) -> list[Place]:
    place, rank = step.take_first(), len(step.shapes[step.first])
    order = step.read("perm", list(range(rank))[::-1])
    return [place._replace(axis=order.index(place.axis))]


def _flatten(step: Step) -> list[Place]:
    place, shape = step.take_first(), step.shapes[step.first]
    axis = step.read("axis", 1) % (len(shape) + 1)
    start = 0 if place.axis < axis else axis
    return [Place(int(place.axis >= axis), prod(shape[start : place.axis]) * place.outer)]


def _reshape(step: Step) -> list[Place]:
    """Every axis with the batch at the same place in memory. With a batch of 1 there may be several."""
    place, before, after = step.take_first(), step.shapes[step.first], step.shapes[step.node.output[0]]
    outside = prod(before[: place.axis]) * place.outer
    found = []
    for axis, side in enumerate(after):
        outer, rest = divmod(outside, prod(after[:axis]))
        if outer and not rest and side % (outer * step.batch) == 0:
            found.append(Place(axis, outer))
    is_kept = before[: place.axis + 1] == after[: place.axis + 1]
    return sorted(found, key=lambda each: (not (is_kept and each == place), each.outer > 1, each.axis))


def _squeeze(step: Step) -> list[Place]:
    place, rank = step.take_first(), len(step.shapes[step.first])
    axes = step.normalize(step.read_list("axes", 1), rank)
    return _require(place.axis not in axes, place._replace(axis=place.axis - sum(axis < place.axis for axis in axes)))


def _unsqueeze(step: Step) -> list[Place]:
    place, rank = step.take_first(), len(step.shapes[step.node.output[0]])
    axes = step.normalize(step.read_list("axes", 1), rank)
    return [place._replace(axis=[axis for axis in range(rank) if axis not in axes][place.axis])]


def _concatenate(step: Step) -> list[Place]:
    """Constants beside one value of the images are written anew by batch_freeing.py, where all images have the same."""
    taken, rank = _list_taken(step), len(step.shapes[step.node.output[0]])
    place = taken[0][1]
    is_alike = {each for _, each in taken} == {place} and len({step.shapes[name][place.axis] for name, _ in taken}) == 1
    rest = [name for name in step.node.input if name not in step.places]
    is_writable = not rest or (len(taken) == 1 and all(_is_same_for_all(step, name, place.axis) for name in rest))
    return _require(is_alike and is_writable and place.axis != step.read("axis") % rank, place)


def _is_same_for_all(step: Step, name: str, axis: int) -> bool:
    values = numpy_helper.to_array(step.constants[name]) if name in step.constants else None
    return values is not None and bool((values == values.take([0], axis)).all())


def _slice(step: Step) -> list[Place]:
    place, rank = step.take_first(), len(step.shapes[step.first])
    starts, ends = step.read_list("starts", 1), step.read_list("ends", 2)
    axes = step.read_list("axes", 3, list(range(len(starts))))
    steps = step.read_list("steps", 4, [1] * len(starts))
    cuts = [cut for axis, *cut in zip(axes, starts, ends, steps, strict=True) if axis % rank == place.axis]
    return _require(all(start == 0 and end >= OPEN_END and by == 1 for start, end, by in cuts), place)


def _gather(step: Step) -> list[Place]:
    place, rank = step.take_first(), len(step.shapes[step.first])
    axis = step.read("axis", 0) % rank
    more = len(step.shapes[step.node.input[1]]) - 1 if axis < place.axis else 0
    return _require(axis != place.axis, place._replace(axis=place.axis + more))


def _expand(step: Step) -> list[Place]:
    place, rank = step.take_first(), len(step.shapes[step.first])
    step.read_list("", 1)  # the shape, which has to be known
    place_behind = Place(place.axis + len(step.shapes[step.node.output[0]]) - rank, place.outer)
    is_kept = step.shapes[step.first][place.axis] == step.shapes[step.node.output[0]][place_behind.axis]
    return _require(is_kept, place_behind)


def _tile(step: Step) -> list[Place]:
    place = step.take_first()
    return _require(step.read_list("", 1)[place.axis] == 1, place)


def _pad(step: Step) -> list[Place]:
    place, rank = step.take_first(), len(step.shapes[step.first])
    axes = [axis % rank for axis in step.read_list("axes", 3, list(range(rank)))]
    pads = step.read_list("pads", 1)
    added = [pad for axis, pad in zip(axes * 2, pads, strict=True) if axis == place.axis]
    return _require(not any(added), place)


def _multiply_matrices(step: Step) -> list[Place]:
    """Rows of the left matrix and columns of the right one do not see each other, nor do matrices of a stack."""
    left, right = step.node.input
    rank = len(step.shapes[step.node.output[0]])
    if min(len(step.shapes[left]), len(step.shapes[right])) < 2:
        raise FixedBatch
    ends = {name: place.axis - len(step.shapes[name]) for name, place in _list_taken(step)}
    if len(ends) == 2 or max(ends.values()) < -2:
        if max(ends.values()) >= -2:
            raise FixedBatch
        (found,) = _broadcast(step)
        return [found]
    ((name, from_end),) = ends.items()
    is_free = from_end == (-2 if name == left else -1)
    return _require(is_free, Place(rank + from_end, step.places[name].outer))


def _einsum(step: Step) -> list[Place]:
    """The letter of the batch stays, and is in no term that is not of the images."""
    terms, _, result = step.read("equation").decode().replace(" ", "").partition("->")
    by_name = list(zip(step.node.input, terms.split(","), strict=True))
    found = {(term[step.places[name].axis], step.places[name].outer) for name, term in by_name if name in step.places}
    if len(found) != 1 or "." in terms:
        raise FixedBatch
    letter, outer = found.pop()
    is_alone = all(term.count(letter) == (name in step.places) for name, term in by_name)
    return _require(is_alone and letter in result, Place(result.find(letter), outer))


def _gemm(step: Step) -> list[Place]:
    place = step.take_first()
    addend = step.node.input[2] if len(step.node.input) > 2 else ""
    _check_alike(step, [addend], -2)
    return _require(place.axis == int(step.read("transA", 0)), place._replace(axis=0))


RULES: Mapping[str, Callable[[Step], list[Place]]] = {
    **dict.fromkeys(BY_PLACE, _broadcast),
    **dict.fromkeys(BY_IMAGE, _keep_first_axis),
    **dict.fromkeys(REDUCING, _reduce),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _keep_beside_axis(-1)),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _keep_before_axis(-1)),
    "LpNormalization": _keep_beside_axis(-1),
    "Split": _keep_beside_axis(0),
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concatenate,
    "Slice": _slice,
    "Gather": _gather,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "MatMul": _multiply_matrices,
    "Gemm": _gemm,
    "Einsum": _einsum,
}
