"""AlexNet in torch: a module for each layer of the layer table. Exact in fp32, fast in bf16."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tencrop.model import net_config as config
from tencrop.model.layer_table import Layer, layer_table
from tencrop.model.net_config import NetConfig
from tencrop.model.padding_and_pooling import max_pool, pad


class Convolution(nn.Conv2d):
    """A layer "conv". Zeros on one side that exceed those on the other are added first. [N,C,H,W] -> [N,K,H',W']"""

    def __init__(self, layer: Layer) -> None:
        spec: config.Conv = layer.spec
        before, behind = spec.pad
        both = min(spec.pad)
        super().__init__(layer.in_shape[0], spec.channels, spec.kernel, spec.stride, both, groups=spec.groups)
        self.before, self.behind = before - both, behind - both

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad(x, self.before, self.behind) if self.before or self.behind else x)


class Scale(nn.Module):
    """The net's scale of each channel. [N,3,H,W] -> [N,3,H,W]"""

    factors: Tensor

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.register_buffer("factors", torch.tensor(layer.spec)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors


class FullyConnected(nn.Linear):
    """A layer "fc" over all values of its input. [N,...] -> [N,units]"""

    def __init__(self, layer: Layer) -> None:
        super().__init__(prod(layer.in_shape), layer.spec.units)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


class GroupedFullyConnected(nn.Linear):
    """A layer "fc" in groups: each has a matrix for its own inputs, all stacked in one weight. [N,...] -> [N,units]"""

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
    """Section 3.3. The sum over neighbours is a 1x1 convolution with a banded matrix.

    Activations are scaled by sqrt(alpha) before they are squared, since the square of 300 is beyond fp16.
    """

    band: Tensor

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        spec: config.LRN = layer.spec
        kernel = torch.arange(layer.in_shape[0])
        group = kernel // (layer.in_shape[0] // spec.groups)
        near = (kernel[:, None] - kernel[None, :]).abs() <= spec.size // 2
        band = (near & (group[:, None] == group[None, :])).float()
        self.register_buffer("band", band[:, :, None, None], persistent=False)
        self.k, self.beta, self.root = spec.k, spec.beta, spec.alpha_each**0.5

    def forward(self, x: Tensor) -> Tensor:
        scaled = x * self.root
        return x * _inverse_power(self.k + F.conv2d(scaled * scaled, self.band).float(), self.beta).to(x.dtype)


class WithinMapResponseNorm(nn.Module):
    """The 2012 program's second norm of stage 2, over a window of the same map. Zeros beyond the edge count."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.spec: config.WithinMapLRN = layer.spec

    def forward(self, x: Tensor) -> Tensor:
        spec = self.spec
        mean = F.avg_pool2d((x * x).float(), spec.size, 1, spec.size // 2)
        return x * _inverse_power(spec.k + spec.alpha * mean, spec.beta).to(x.dtype)


class MaxPool(nn.Module):
    """A layer "pool", its output size rounded up, or "pooldown", its size rounded down. [N,C,H,W] -> [N,C,H',W']"""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.spec: config.Pool = layer.spec
        self.rounds_up = layer.op == "pool"

    def forward(self, x: Tensor) -> Tensor:
        size, stride = self.spec.size, self.spec.stride
        if not self.rounds_up:
            seen = x.shape[-1] - (x.shape[-1] - size) % stride  # rows and columns that whole windows see
            x = x[:, :, :seen, :seen]
        values: Tensor = max_pool(x, size, stride)[0]
        return values


class Dropout(nn.Module):
    """Section 4.2 as written: masks without scaling in training, times 1 - p at test.

    Inverted: masks and a division by 1 - p in training, nothing at test.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.p: float = layer.spec.p
        self.inverted: bool = layer.spec.inverted

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            kept = x * (torch.rand_like(x, dtype=torch.float32) >= self.p)
            return kept / (1 - self.p) if self.inverted else kept
        return x if self.inverted else x * (1 - self.p)


def _inverse_power(scale: Tensor, beta: float) -> Tensor:
    """scale^-beta. The beta of 2012 takes no pow: scale^-3/4 = r * sqrt(r) with r = rsqrt(scale)."""
    if beta != 0.75:
        return scale.pow(-beta)
    root = scale.rsqrt()
    return root * root.sqrt()


def _fully_connected(layer: Layer) -> nn.Module:
    if layer.spec.rank:
        return LowRank(layer)
    return GroupedFullyConnected(layer) if layer.spec.groups > 1 else FullyConnected(layer)


MODULES: dict[str, Callable[[Layer], nn.Module]] = {
    "scale": Scale,
    "conv": Convolution,
    "fc": _fully_connected,
    "relu": lambda layer: nn.ReLU(),
    "tanh": lambda layer: nn.Tanh(),
    "lrn": LocalResponseNorm,
    "samemap": WithinMapResponseNorm,
    "pool": MaxPool,
    "pooldown": MaxPool,
    "dropout": Dropout,
}


class AlexNet(nn.Sequential):
    """Crops with the mean subtracted, float [N,3,224,224] on the 0..255 scale -> logits [N,units of fc8]."""

    def __init__(self, net: NetConfig) -> None:
        super().__init__(OrderedDict((layer.name, MODULES[layer.op](layer)) for layer in layer_table(net)))
        self.config = net

    @classmethod
    def from_weights(cls, net: NetConfig, weights: Mapping[str, np.ndarray]) -> "AlexNet":
        """Build the net with these weights (names as in `state_dict`), in fp32 and ready to predict."""
        alexnet = cls(net)
        alexnet.load_state_dict({name: torch.from_numpy(np.asarray(w, np.float32)) for name, w in weights.items()})
        return alexnet.eval()

    def init(self, seed: int) -> None:
        """Draw zero-mean Gaussian weights and set constant biases (section 5), each layer by its own numbers."""
        generator = torch.Generator().manual_seed(seed)
        for layer in layer_table(self.config):
            if layer.op in ("conv", "fc"):
                for name, parameter in self.get_submodule(layer.name).named_parameters():
                    if name.endswith("weight"):
                        parameter.data.normal_(0, layer.spec.init_std, generator=generator)
                    else:
                        parameter.data.fill_(layer.spec.init_bias)

    def weights(self) -> dict[str, np.ndarray]:
        """Copies of the parameters by name, which do not change when training goes on."""
        return {name: p.detach().cpu().numpy().copy() for name, p in self.named_parameters()}
