"""NetConfig: the numbers of the 2012 net, read like the paper's section 3.5, and the rows that torch and ONNX both follow."""

from collections.abc import Iterator
from math import prod
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import STRICT, Count, Natural, NotNegative


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("a window has a middle: its size must be odd")
    return size


Odd = Annotated[Count, AfterValidator(_odd)]
Groups = Annotated[Count, Field(alias="columns")]  # recipes and checkpoints store it as "columns"
Shape = tuple[int, ...]  # (channels, height, width), or (units,) behind the first fully connected layer


@dataclass(frozen=True, config=STRICT)
class Conv:
    """A convolutional layer. `pad` is the zeros before (top, left) and behind (bottom, right)."""

    channels: Count
    kernel: Count
    stride: Count = 1
    pad: tuple[Natural, Natural] = (0, 0)
    groups: Groups = 1  # 2: each half of the kernels sees its own column only
    init_std: NotNegative = 0.01
    init_bias: float = 0.0


@dataclass(frozen=True, config=STRICT)
class Linear:
    """A fully connected layer; with a `rank` its matrix is the product of two, [units, rank] by [rank, inputs]."""

    units: Count
    init_std: NotNegative = 0.01
    init_bias: float = 0.0
    rank: Natural = 0
    groups: Groups = 1  # 2: each half of the units sees its own column only


@dataclass(frozen=True, config=STRICT)
class LRN:
    """Local response normalization, section 3.3: b = a / (k + alpha * sum of n squares)^beta.

    The 2012 program divides alpha by n (as ONNX's LRN does), the paper's formula does not; `groups` > 1
    normalises inside each column, as that program did, instead of over all kernels of the layer.
    """

    size: Odd = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0
    alpha_divided: bool = True
    groups: Groups = 1

    @property
    def alpha_each(self) -> float:
        """The factor of one square in the sum."""
        return self.alpha / self.size if self.alpha_divided else self.alpha


@dataclass(frozen=True, config=STRICT)
class WithinMapLRN:
    """The 2012 program's normalization over a size x size window of the same map; alpha is divided by size^2."""

    size: Odd = 5
    alpha: float = 1e-3
    beta: float = 0.75
    k: float = 1.0


@dataclass(frozen=True, config=STRICT)
class Pool:
    """Max pooling; overlapping where stride < size (section 3.4). The output size is rounded up, as in 2012."""

    size: Count = 3
    stride: Count = 2


@dataclass(frozen=True, config=STRICT)
class Dropout:
    """Section 4.2, not inverted: a mask in training, times 1 - p at test."""

    p: Annotated[float, Field(ge=0, lt=1)] = 0.5


@dataclass(frozen=True, config=STRICT)
class NetConfig:
    """The paper's net (figure 2). A variant is this with a few fields changed; `layers` is the order of the operations."""

    input: Count = 224
    conv1: Conv = Conv(96, 11, stride=4, pad=(0, 3))  # 55x55: the output size rounded up
    conv2: Conv = Conv(256, 5, pad=(2, 2), groups=2, init_bias=1.0)
    conv3: Conv = Conv(384, 3, pad=(1, 1))
    conv4: Conv = Conv(384, 3, pad=(1, 1), groups=2, init_bias=1.0)
    conv5: Conv = Conv(256, 3, pad=(1, 1), groups=2, init_bias=1.0)
    fc6: Linear = Linear(4096, init_bias=1.0)
    fc7: Linear = Linear(4096, init_bias=1.0)
    fc8: Linear = Linear(1000)
    lrn: LRN = LRN()
    samemap: WithinMapLRN = WithinMapLRN()
    pool: Pool = Pool()
    dropout: Dropout = Dropout()
    layers: tuple[str, ...] = (
        "conv1 relu lrn pool",
        "conv2 relu lrn pool",
        "conv3 relu",
        "conv4 relu",
        "conv5 relu pool",
        "fc6 relu dropout",
        "fc7 relu dropout",
        "fc8",
    )


class Layer(NamedTuple):
    """One operation of the net: `spec` is its part of the NetConfig (None where it has no numbers)."""

    name: str  # conv1, relu1, lrn1, pool1, conv2, ...
    op: str  # conv, fc, relu, tanh, lrn, samemap, pool, dropout
    spec: Any
    in_shape: Shape
    out_shape: Shape


def layer_table(config: NetConfig) -> Iterator[Layer]:
    """The net as a table, one row an operation, with the shapes that go in and come out.

    Raises BadInput for an operation that is not one of the net's, and for sizes that do not fit.
    """
    shape: Shape = (3, config.input, config.input)
    seen: set[str] = set()
    for stage in config.layers:
        number = (stage.split() or [" "])[0][-1]
        for token in stage.split() or [""]:
            op = token.rstrip("0123456789")
            if op not in _AFTER:
                raise BadInput(f"net.layers: {token!r} in {stage!r} is none of {', '.join(_AFTER)}")
            spec, name = getattr(config, token, None), op + number
            if spec is None and op not in _PLAIN:
                raise BadInput(f"net.layers: the net has no {token!r} (in {stage!r})")
            if name in seen:
                raise BadInput(f"net.layers: {token!r} stands twice in {stage!r}")
            if len(shape) == 1 and op in ("conv", "pool", "lrn", "samemap"):
                raise BadInput(f"net.layers: {token!r} in {stage!r} stands behind a fully connected layer")
            if isinstance(spec, Linear) and spec.rank and spec.groups > 1:
                raise BadInput(f"net.{token}: a layer whose columns do not see each other has no low-rank form")
            seen.add(name)
            after = _AFTER[op](shape, spec)
            groups = getattr(spec, "groups", 1)
            if min(after) < 1:
                raise BadInput(f"net.{token}: nothing is left of {shape} behind it")
            if (prod(shape) if op == "fc" else shape[0]) % groups or after[0] % groups:
                raise BadInput(
                    f"net.{token}: {shape} does not divide into {groups} groups, or {after} behind it does not"
                )
            yield Layer(name, op, spec, shape, after)
            shape = after


def parameter_shapes(config: NetConfig) -> dict[str, Shape]:
    """The shape of each parameter, by its name in a checkpoint. Raises BadInput as `layer_table`."""
    shapes: dict[str, Shape] = {}
    for name, op, spec, before, after in layer_table(config):
        if op == "conv":
            shapes |= _layer(name, (spec.channels, before[0] // spec.groups, spec.kernel, spec.kernel))
        elif op == "fc" and spec.rank:
            shapes |= {f"{name}.down.weight": (spec.rank, prod(before))} | _layer(f"{name}.up", (*after, spec.rank))
        elif op == "fc":
            shapes |= _layer(name, (*after, prod(before) // spec.groups))
    return shapes


def _layer(name: str, weight: Shape) -> dict[str, Shape]:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def _conv_after(shape: Shape, conv: Conv) -> Shape:
    side = (shape[1] + sum(conv.pad) - conv.kernel) // conv.stride + 1
    return conv.channels, side, side


def _pool_after(shape: Shape, pool: Pool) -> Shape:
    side = -((pool.size - shape[1]) // pool.stride) + 1  # rounded up
    return shape[0], side, side


_PLAIN = ("relu", "tanh")  # operations without numbers

_AFTER: dict[str, Any] = {
    "conv": _conv_after,
    "fc": lambda _, fc: (fc.units,),
    "pool": _pool_after,
    **{op: lambda shape, _: shape for op in ("relu", "tanh", "lrn", "samemap", "dropout")},
}
