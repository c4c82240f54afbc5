"""AlexNet in torch: the layers of model/net_config.py, each as a module. Exact in fp32, fast in bf16."""

from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tencrop.model import net_config as config
from tencrop.model.net_config import Layer, NetConfig, layer_table


class Convolution(nn.Conv2d):
    """A layer "conv"; what the padding behind exceeds the padding before is added as zeros first. [N,C,H,W] -> [N,K,H',W']"""

    def __init__(self, layer: Layer) -> None:
        spec: config.Conv = layer.spec
        before, behind = spec.pad
        super().__init__(layer.in_shape[0], spec.channels, spec.kernel, spec.stride, before, groups=spec.groups)
        self.behind = behind - before

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(_pad_behind(x, self.behind) if self.behind else x)


class FullyConnected(nn.Linear):
    """A layer "fc" over all values of its input. [N,...] -> [N,units]"""

    def __init__(self, layer: Layer) -> None:
        super().__init__(prod(layer.in_shape), layer.spec.units)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


class GroupedFullyConnected(nn.Linear):
    """A layer "fc" whose columns do not see each other: a matrix for each, one above the other. [N,...] -> [N,units]"""

    def __init__(self, layer: Layer) -> None:
        self.groups: int = layer.spec.groups
        super().__init__(prod(layer.in_shape) // self.groups, layer.spec.units)

    def forward(self, x: Tensor) -> Tensor:
        own = x.reshape(len(x), self.groups, self.in_features).transpose(0, 1)  # [groups,N,inputs]
        matrices = self.weight.view(self.groups, -1, self.in_features).transpose(1, 2)
        return torch.bmm(own, matrices.to(own.dtype)).transpose(0, 1).flatten(1) + self.bias


class LowRank(nn.Module):
    """A layer "fc" with a rank: `up` @ `down` in place of one matrix. [N,...] -> [N,units]"""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.down = nn.Linear(prod(layer.in_shape), layer.spec.rank, bias=False)
        self.up = nn.Linear(layer.spec.rank, layer.spec.units)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x.flatten(1)))  # type: ignore[no-any-return]


class LocalResponseNorm(nn.Module):
    """Section 3.3. The sum over neighbours is a 1x1 convolution with a banded matrix; s^-3/4 = r * sqrt(r), r = rsqrt(s).

    Activations are scaled by sqrt(alpha) before they are squared: the square of 300 is beyond fp16.
    """

    band: Tensor

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        spec: config.LRN = layer.spec
        kernel = torch.arange(layer.in_shape[0])
        column = kernel // (layer.in_shape[0] // spec.groups)
        near = (kernel[:, None] - kernel[None, :]).abs() <= spec.size // 2
        band = (near & (column[:, None] == column[None, :])).float()
        self.register_buffer("band", band[:, :, None, None], persistent=False)
        self.k, self.beta, self.root = spec.k, spec.beta, spec.alpha_each**0.5

    def forward(self, x: Tensor) -> Tensor:
        scaled = x * self.root
        return x * _power(self.k + F.conv2d(scaled * scaled, self.band).float(), self.beta).to(x.dtype)


class WithinMapResponseNorm(nn.Module):
    """The 2012 program's second norm of stage 2, over a window of the same map; zeros beyond the edge count."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.spec: config.WithinMapLRN = layer.spec

    def forward(self, x: Tensor) -> Tensor:
        spec = self.spec
        mean = F.avg_pool2d((x * x).float(), spec.size, 1, spec.size // 2)
        return x * _power(spec.k + spec.alpha * mean, spec.beta).to(x.dtype)


class MaxPool(nn.Module):
    """A layer "pool", its output size rounded up. [N,C,H,W] -> [N,C,H',W']"""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.spec: config.Pool = layer.spec

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = _max_pool(x, self.spec.size, self.spec.stride)[0]
        return values


# Zeros to the right and below, as an operator that torch.compile does not look into: fused on a CPU, its loads for 3
# channels run up to 13 elements past the end of the batch (torch 2.14), which crashes where that is the end of a mapping.
@torch.library.custom_op("tencrop::pad_behind", mutates_args=())
def _pad_behind(x: Tensor, zeros: int) -> Tensor:
    return F.pad(x, (0, zeros, 0, zeros))


@_pad_behind.register_fake
def _(x: Tensor, zeros: int) -> Tensor:
    return F.pad(x, (0, zeros, 0, zeros))


def _save_zeros(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
    ctx.zeros = inputs[1]


def _padded_gradient(ctx: Any, up: Tensor) -> tuple[Tensor, None]:
    return up[:, :, : -ctx.zeros, : -ctx.zeros], None


_pad_behind.register_autograd(_padded_gradient, setup_context=_save_zeros)


# Max pooling as an operator that torch.compile does not look into: on a CPU torch's own gradient is faster than the
# scatter that the compiler makes of it.
@torch.library.custom_op("tencrop::max_pool", mutates_args=())
def _max_pool(x: Tensor, size: int, stride: int) -> tuple[Tensor, Tensor]:
    return torch.ops.aten.max_pool2d_with_indices(x, [size, size], [stride, stride], [0, 0], [1, 1], True)  # type: ignore[no-any-return]


@torch.library.custom_op("tencrop::max_pool_gradient", mutates_args=())
def _max_pool_gradient(up: Tensor, x: Tensor, indices: Tensor, size: int, stride: int) -> Tensor:
    up = up.contiguous(memory_format=torch.channels_last) if x.is_contiguous(memory_format=torch.channels_last) else up
    return torch.ops.aten.max_pool2d_with_indices_backward(  # type: ignore[no-any-return]
        up, x, [size, size], [stride, stride], [0, 0], [1, 1], True, indices
    )


@_max_pool.register_fake
def _(x: Tensor, size: int, stride: int) -> tuple[Tensor, Tensor]:
    return torch.ops.aten.max_pool2d_with_indices(x, [size, size], [stride, stride], [0, 0], [1, 1], True)  # type: ignore[no-any-return]


@_max_pool_gradient.register_fake
def _(up: Tensor, x: Tensor, indices: Tensor, size: int, stride: int) -> Tensor:
    return torch.empty_like(x)


def _save_pooled(ctx: Any, inputs: tuple[Tensor, int, int], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], output[1])
    ctx.window = inputs[1:]
    ctx.mark_non_differentiable(output[1])


def _pooled_gradient(ctx: Any, up: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    return _max_pool_gradient(up, *ctx.saved_tensors, *ctx.window), None, None


_max_pool.register_autograd(_pooled_gradient, setup_context=_save_pooled)


class Dropout(nn.Module):
    """Section 4.2 as written, not inverted: masks without scaling in training, times 1 - p at test."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.p: float = layer.spec.p

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return x * (torch.rand_like(x, dtype=torch.float32) >= self.p)
        return x * (1 - self.p)


def _power(scale: Tensor, beta: float) -> Tensor:
    """scale^-beta, without pow for the beta of 2012."""
    if beta != 0.75:
        return scale.pow(-beta)
    root = scale.rsqrt()
    return root * root.sqrt()


MODULES = {
    "conv": Convolution,
    "fc": lambda layer: (
        LowRank if layer.spec.rank else GroupedFullyConnected if layer.spec.groups > 1 else FullyConnected
    )(layer),
    "relu": lambda layer: nn.ReLU(),
    "tanh": lambda layer: nn.Tanh(),
    "lrn": LocalResponseNorm,
    "samemap": WithinMapResponseNorm,
    "pool": MaxPool,
    "dropout": Dropout,
}


class AlexNet(nn.Sequential):
    """Crops with the mean subtracted, float [N,3,224,224] on the 0..255 scale -> logits [N,units of fc8]."""

    def __init__(self, net: NetConfig) -> None:
        super().__init__(OrderedDict((layer.name, MODULES[layer.op](layer)) for layer in layer_table(net)))
        self.config = net

    @classmethod
    def from_weights(cls, net: NetConfig, weights: Mapping[str, np.ndarray]) -> "AlexNet":
        """The net with these weights (names as in `state_dict`), in fp32 and ready to predict."""
        alexnet = cls(net)
        alexnet.load_state_dict({name: torch.from_numpy(np.asarray(w, np.float32)) for name, w in weights.items()})
        return alexnet.eval()

    def init(self, seed: int) -> None:
        """Section 5: zero-mean Gaussian weights and constant biases, layer by layer as the config says."""
        generator = torch.Generator().manual_seed(seed)
        for layer in layer_table(self.config):
            if layer.op in ("conv", "fc"):
                module = self.get_submodule(layer.name)
                module.weight.data.normal_(0, layer.spec.init_std, generator=generator)  # type: ignore[operator]
                module.bias.data.fill_(layer.spec.init_bias)  # type: ignore[operator]

    def weights(self) -> dict[str, np.ndarray]:
        """The parameters by name, as arrays that do not change when training goes on."""
        return {name: p.detach().cpu().numpy().copy() for name, p in self.named_parameters()}
