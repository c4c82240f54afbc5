"""NetConfig: the numbers of the 2012 net, to be read like the paper's section 3.5."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from tencrop.common.strict_config import STRICT, Count, Natural, NotNegative, Positive, left_out


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("a window has a middle: its size must be odd")
    return size


Odd = Annotated[Count, AfterValidator(_odd)]
Groups = Annotated[Count, Field(alias="columns")]  # recipes and checkpoints store it under the paper's word


@dataclass(frozen=True, config=STRICT)
class Conv:
    """A convolutional layer, section 3.5."""

    channels: Count  # number of kernels
    kernel: Count  # pixels along a side of a kernel
    stride: Count = 1  # pixels between neighbouring outputs
    pad: tuple[Natural, Natural] = (0, 0)  # rows and columns of zeros before (top, left) and behind (bottom, right)
    groups: Groups = 1  # 2: each half of the kernels sees its own column only (section 3.2)
    init_std: NotNegative = 0.01  # standard deviation of the initial weights (section 5)
    init_bias: float = 0.0  # initial bias (section 5)


@dataclass(frozen=True, config=STRICT)
class Linear:
    """A fully connected layer, section 3.5."""

    units: Count  # outputs; in fc8 a training sets them to the number of classes
    init_std: NotNegative = 0.01  # standard deviation of the initial weights (section 5)
    init_bias: float = 0.0  # initial bias (section 5)
    rank: Natural = 0  # the matrix is the product of [units,rank] and [rank,inputs]; 0: one matrix
    groups: Groups = 1  # 2: each half of the units sees its own column only (section 3.2)


@dataclass(frozen=True, config=STRICT)
class LRN:
    """Local response normalization, section 3.3: b = a / (k + alpha * sum of n squares)^beta.

    The 2012 program divides alpha by n, as ONNX's LRN does; the paper's formula does not. With `groups` > 1 the sum
    stays inside a column, as in that program, instead of reaching over all kernels of the layer.
    """

    size: Odd = 5  # n, the kernels in a sum; odd
    alpha: float = 1e-4  # factor of the sum
    beta: float = 0.75  # exponent
    k: float = 2.0  # term beside the sum
    alpha_divided: bool = True  # divide alpha by n, unlike the paper's formula
    groups: Groups = 1  # 2: the sum stays inside a column

    @property
    def alpha_each(self) -> float:
        """The factor of one square in the sum."""
        return self.alpha / self.size if self.alpha_divided else self.alpha


@dataclass(frozen=True, config=STRICT)
class WithinMapLRN:
    """The 2012 program's normalization over a size x size window of the same map; alpha is divided by size^2."""

    size: Odd = 5  # pixels along a side of the window; odd
    alpha: float = 1e-3  # factor of the sum of squares, divided by size^2
    beta: float = 0.75  # exponent
    k: float = 1.0  # term beside the sum


@dataclass(frozen=True, config=STRICT)
class Pool:
    """Max pooling; overlapping where stride < size (section 3.4). `pool` rounds its output size up, as in 2012."""

    size: Count = 3  # pixels along a side of the window
    stride: Count = 2  # pixels between neighbouring windows


@dataclass(frozen=True, config=STRICT)
class Dropout:
    """Section 4.2: a mask in training, times 1 - p at test."""

    p: Annotated[float, Field(ge=0, lt=1)] = 0.5  # probability that an output is 0
    inverted: Annotated[bool, left_out(False)] = False  # divide by 1 - p in training instead, as later nets do


NO_SCALE = (1.0, 1.0, 1.0)
Scale = Annotated[tuple[Positive, Positive, Positive], left_out(NO_SCALE)]
Pooldown = Annotated[Pool, left_out(Pool())]


@dataclass(frozen=True, config=STRICT)
class NetConfig:
    """The paper's net (figure 2). A variant changes a few fields; `layers` is the order of the operations."""

    input: Count = 224  # pixels along a side of the image
    scale: Scale = NO_SCALE  # factors of red, green and blue behind the mean, for pixels on another scale than 0..255
    conv1: Conv = Conv(96, 11, stride=4, pad=(0, 3))  # 55x55: the output size rounded up
    conv2: Conv = Conv(256, 5, pad=(2, 2), groups=2, init_bias=1.0)
    conv3: Conv = Conv(384, 3, pad=(1, 1))
    conv4: Conv = Conv(384, 3, pad=(1, 1), groups=2, init_bias=1.0)
    conv5: Conv = Conv(256, 3, pad=(1, 1), groups=2, init_bias=1.0)
    conv6: Annotated[Conv | None, left_out(None)] = None  # a sixth, over the last pooling layer (section 6)
    fc6: Linear = Linear(4096, init_bias=1.0)
    fc7: Linear = Linear(4096, init_bias=1.0)
    fc8: Linear = Linear(1000)
    lrn: LRN = LRN()
    samemap: WithinMapLRN = WithinMapLRN()
    pool: Pool = Pool()
    pooldown: Pooldown = Pool()  # max pooling that rounds its output size down
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
    )  # operations in their order, a string for each layer (section 3.5)
