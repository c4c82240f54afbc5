"""The paper's two GPUs (section 3.2): each process holds one column; they exchange activations before some layers only.

torchrun --standalone --nproc-per-node=2 -m tencrop train source145 --data PREPARED --out RUN --columns
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
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

PARAMETRIC = ("conv", "fc")  # operations with parameters


class TwoColumns:
    """Model parallelism: each of two processes holds one column of the net and trains on every whole batch.

    Both compute all of the last layer, whose softmax needs all units. Raises BadInput where the net does not divide
    into two columns, or where there are not two processes.
    """

    share = (0, 1)  # all of each batch and of the validation images

    def __init__(self, net: NetConfig, world: World) -> None:
        if world.size != 2:
            raise BadInput(
                f"--columns: takes two processes, not {world.size}",
                "start them with torchrun --standalone --nproc-per-node=2 -m tencrop train ...",
            )
        table = list(layer_table(net))
        _check_columns(table)
        self.net, self.world, self.last = net, world, table[-1].name

    def build(self) -> nn.Module:
        """Build this process's column."""
        return Column(self.net, self.world.rank)

    def shard(self, name: str, whole: np.ndarray) -> np.ndarray:
        """Return this column's half of a parameter or velocity, or all of it for the last layer."""
        return whole if name.startswith(f"{self.last}.") else np.split(whole, 2)[self.world.rank]

    def gather(self, shards: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Copy whole tensors from both columns' halves. Both processes must call this at the same step."""
        whole = {
            name: value if name.startswith(f"{self.last}.") else torch.cat(_both(value.detach(), self.world.rank))
            for name, value in shards.items()
        }
        return {name: value.detach().cpu().numpy().copy() for name, value in whole.items()}

    def average_gradients(self, objective: nn.Module) -> nn.Module:
        """Return the objective as it is: each column has seen the whole batch."""
        return objective


def _check_columns(table: Sequence[Layer]) -> None:
    if any(layer.op == "lrn" and layer.spec.groups != 2 for layer in table):
        raise BadInput(
            "--columns: this recipe's normalization reaches across the columns",
            "take one like source145, whose normalization stays inside a column (net.lrn.columns = 2)",
        )
    if any(layer.op in PARAMETRIC and layer.spec.groups == 1 and layer.out_shape[0] % 2 for layer in table[:-1]):
        raise BadInput("--columns: a layer of this recipe has an odd number of kernels or units")
    has_groups = any(layer.op == "conv" and layer.spec.groups == 2 for layer in table)
    if not has_groups or any(layer.op == "fc" and layer.spec.rank for layer in table[:-1]):
        raise BadInput("--columns: the net of this recipe does not have two columns")


class Column(nn.Sequential):
    """One column of a net: half of each layer, all of the last, an exchange before each layer that reads both."""

    def __init__(self, net: NetConfig, rank: int) -> None:
        table = list(layer_table(net))
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        image = table[0].in_shape
        for position, layer in enumerate(table):
            is_last = position == len(table) - 1
            if layer.in_shape != image and layer.op in PARAMETRIC and (is_last or layer.spec.groups == 1):
                modules[f"exchange_{layer.name}"] = Exchange(rank, alike=is_last)
            modules[layer.name] = MODULES[layer.op](layer if is_last else _halve(layer))
        super().__init__(modules)


def _halve(layer: Layer) -> Layer:
    """Halve the kernels or units of a layer, and its inputs where the layer reads its own column only."""
    half_input = (layer.in_shape[0] // 2, *layer.in_shape[1:])
    if layer.op not in PARAMETRIC:
        spec = replace(layer.spec, groups=1) if layer.op == "lrn" else layer.spec
        return layer._replace(spec=spec, in_shape=half_input)
    width = "channels" if layer.op == "conv" else "units"
    spec = replace(layer.spec, groups=1, **{width: getattr(layer.spec, width) // 2})
    return layer._replace(spec=spec, in_shape=layer.in_shape if layer.spec.groups == 1 else half_input)


class Exchange(nn.Module):
    """This column's activations -> both columns' activations, first column first. [N,C/2,...] -> [N,C,...]

    `alike`: both processes compute the same from the result, as they do in the last layer, instead of a half each.
    """

    def __init__(self, rank: int, alike: bool) -> None:
        super().__init__()
        self.rank, self.alike = rank, alike

    def forward(self, x: Tensor) -> Tensor:
        return _exchange(x, self.rank, self.alike)  # type: ignore[no-any-return]


# Custom operators: torch.compile does not trace into them, so an exchange is one step of its graph.
@torch.library.custom_op("tencrop::exchange", mutates_args=())
def _exchange(own: Tensor, rank: int, alike: bool) -> Tensor:
    return torch.cat(_both(own, rank), 1)


@torch.library.custom_op("tencrop::exchange_gradient", mutates_args=())
def _exchange_gradient(up: Tensor, rank: int, alike: bool) -> Tensor:
    """Send each half of the gradient to its column. A column adds both processes' gradients for its half."""
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


def _save_rank(ctx: Any, inputs: tuple[Tensor, int, bool], output: Tensor) -> None:
    ctx.rank_and_alike = inputs[1:]


def _backward(ctx: Any, up: Tensor) -> tuple[Tensor, None, None]:
    return _exchange_gradient(up, *ctx.rank_and_alike), None, None


_exchange.register_autograd(_backward, setup_context=_save_rank)


def _both(own: Tensor, rank: int) -> list[Tensor]:
    """Both columns' tensors, first column first."""
    pair = [own.contiguous(), _swap(own)]
    return pair if rank == 0 else pair[::-1]


def _swap(mine: Tensor) -> Tensor:
    """Send a tensor to the other process and receive its tensor of the same shape."""
    mine = mine.contiguous()
    theirs = torch.empty_like(mine)
    other = 1 - dist.get_rank()
    for request in dist.batch_isend_irecv([dist.P2POp(dist.isend, mine, other), dist.P2POp(dist.irecv, theirs, other)]):
        request.wait()
    return theirs
