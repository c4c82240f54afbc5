"""The paper's two GPUs (section 3.2): each process holds one column, and they exchange activations in certain layers only.

torchrun --standalone --nproc-per-node=2 -m tencrop train source145 --data PREPARED --out RUN --columns
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tencrop.common.errors import BadInput
from tencrop.model.layer_table import Layer, layer_table
from tencrop.model.net import MODULES
from tencrop.model.net_config import NetConfig
from tencrop.training.parallel import World

HALVES = ("conv", "fc")  # the operations with parameters


class TwoColumns:
    """Each of two processes holds its column of the net and sees every batch whole.

    The last layer, whose softmax needs all units, is computed alike by both. Raises BadInput for a net that does not
    come apart into two columns.
    """

    share = (0, 1)  # all of each batch and of the validation images

    def __init__(self, net: NetConfig, world: World) -> None:
        if world.size != 2:
            raise BadInput(
                f"--columns: takes two processes, not {world.size}: torchrun --standalone --nproc-per-node=2 -m tencrop train ..."
            )
        table = list(layer_table(net))
        if any(layer.op == "lrn" and layer.spec.groups != 2 for layer in table):
            raise BadInput(
                "--columns: this recipe's normalization reaches across the columns; source145's stays inside (net.lrn.columns = 2)"
            )
        if any(layer.op in HALVES and layer.spec.groups == 1 and layer.out_shape[0] % 2 for layer in table[:-1]):
            raise BadInput("--columns: a layer of this recipe has an odd number of kernels or units")
        if not any(layer.op == "conv" and layer.spec.groups == 2 for layer in table) or any(
            layer.op == "fc" and layer.spec.rank for layer in table
        ):
            raise BadInput("--columns: the net of this recipe does not have two columns")
        self.net, self.world, self.last = net, world, table[-1].name

    def build(self) -> nn.Module:
        """This process's column."""
        return Column(self.net, self.world.rank)

    def own(self, name: str, whole: np.ndarray) -> np.ndarray:
        """This column's half of a parameter or of its velocity; all of the last layer's."""
        return whole if name.startswith(f"{self.last}.") else np.split(whole, 2)[self.world.rank]

    def whole(self, own: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Both columns' parts together; both processes must ask."""
        together = {
            n: v if n.startswith(f"{self.last}.") else torch.cat(_both(v.detach(), self.world.rank))
            for n, v in own.items()
        }
        return {name: value.detach().cpu().numpy().copy() for name, value in together.items()}

    def averaged(self, objective: nn.Module) -> nn.Module:
        """The objective as it is: each column's gradients are whole."""
        return objective


class Column(nn.Sequential):
    """One column of a net: half of each layer, an exchange before each that sees both, all of the last layer."""

    def __init__(self, net: NetConfig, rank: int) -> None:
        table = list(layer_table(net))
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        for position, layer in enumerate(table):
            last = position == len(table) - 1
            if position and layer.op in HALVES and (last or layer.spec.groups == 1):
                modules[f"exchange_{layer.name}"] = Exchange(rank, alike=last)
            modules[layer.name] = MODULES[layer.op](layer if last else _half(layer))
        super().__init__(modules)


def _half(layer: Layer) -> Layer:
    """The layer as one column has it: half of its kernels or units, and half of the inputs where it sees its own column."""
    apart = (layer.in_shape[0] // 2, *layer.in_shape[1:])
    if layer.op not in HALVES:
        spec = replace(layer.spec, groups=1) if layer.op == "lrn" else layer.spec
        return layer._replace(spec=spec, in_shape=apart)
    width = "channels" if layer.op == "conv" else "units"
    spec = replace(layer.spec, groups=1, **{width: getattr(layer.spec, width) // 2})
    return layer._replace(spec=spec, in_shape=layer.in_shape if layer.spec.groups == 1 else apart)


class Exchange(nn.Module):
    """This column's activations -> both columns', first column first. [N,C/2,...] -> [N,C,...]"""

    def __init__(self, rank: int, alike: bool) -> None:
        super().__init__()
        self.rank, self.alike = rank, alike  # alike: both columns compute the same behind it, not a half each

    def forward(self, x: Tensor) -> Tensor:
        return _exchange(x, self.rank, self.alike)  # type: ignore[no-any-return]


# Operators that torch.compile does not look into: to the compiler an exchange is one step of the graph.
@torch.library.custom_op("tencrop::exchange", mutates_args=())
def _exchange(own: Tensor, rank: int, alike: bool) -> Tensor:
    return torch.cat(_both(own, rank), 1)


@torch.library.custom_op("tencrop::exchange_gradient", mutates_args=())
def _exchange_gradient(up: Tensor, rank: int, alike: bool) -> Tensor:
    """Each half of the gradient goes to its column, which adds what both columns' kernels want of it."""
    halves = up.chunk(2, 1)
    own, others = halves[rank], halves[1 - rank]
    own = own.clone(memory_format=torch.contiguous_format)
    return own if alike else own + _swap(others)


@_exchange.register_fake
def _(own: Tensor, rank: int, alike: bool) -> Tensor:
    return own.new_empty((len(own), 2 * own.shape[1], *own.shape[2:]))


@_exchange_gradient.register_fake
def _(up: Tensor, rank: int, alike: bool) -> Tensor:
    return up.new_empty((len(up), up.shape[1] // 2, *up.shape[2:]))


def _save_side(ctx: Any, inputs: tuple[Tensor, int, bool], output: Tensor) -> None:
    ctx.side = inputs[1:]


def _exchanged_gradient(ctx: Any, up: Tensor) -> tuple[Tensor, None, None]:
    return _exchange_gradient(up, *ctx.side), None, None


_exchange.register_autograd(_exchanged_gradient, setup_context=_save_side)


def _both(own: Tensor, rank: int) -> list[Tensor]:
    pair = [own.contiguous(), _swap(own)]
    return pair if rank == 0 else pair[::-1]


def _swap(mine: Tensor) -> Tensor:
    """Give a tensor to the other process and take its own of the same shape."""
    mine = mine.contiguous()
    theirs = torch.empty_like(mine)
    other = 1 - dist.get_rank()
    for request in dist.batch_isend_irecv([dist.P2POp(dist.isend, mine, other), dist.P2POp(dist.irecv, theirs, other)]):
        request.wait()
    return theirs
