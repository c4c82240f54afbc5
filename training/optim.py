"""Section 5's update rule as written: v = momentum v - decay lr w - lr g; w = w + v.

The rate is inside v, so after a drop of lr the old steps keep their size (torch.optim.SGD multiplies v by the new lr).
Where lr is 0 the update is skipped, momentum included, as in the 2012 program. A frozen layer needs no gradient.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tencrop.training.recipe import LayerRates, Optim
from tencrop.training.schedule import EpochSettings


class Momentum(torch.optim.Optimizer):
    """Optimizer with a velocity per parameter.

    It derives from torch's Optimizer only because the loss scaler for fp16 steps nothing else.
    """

    def __init__(self, net: nn.Module, optim: Optim) -> None:
        super().__init__(net.parameters(), {})
        self.optim = optim
        self.parameters = dict(net.named_parameters())
        self.velocity = {name: torch.zeros_like(p) for name, p in self.parameters.items()}

    def choose_rates(self, name: str, settings: EpochSettings) -> tuple[float, float]:
        """Choose (lr, decay) of a parameter in an epoch with these settings."""
        layer, bias = name.split(".")[0], name.endswith("bias")
        if layer in settings.frozen:
            return 0.0, 0.0
        factor = self.optim.layers.get(layer, LayerRates()).lr
        if bias:
            scale = settings.scale if self.optim.bias_drops else 1.0
            return self.optim.bias_lr * scale * factor, self.optim.bias_decay
        return settings.layer_lr.get(layer, self.optim.lr * settings.scale * factor), self.optim.decay

    @torch.no_grad()
    def step(self, settings: EpochSettings) -> None:  # type: ignore[override]
        """Update all parameters from their gradients, in one fused pass for each (lr, decay)."""
        groups: dict[tuple[float, float], list[str]] = {}
        for name in self.parameters:
            groups.setdefault(self.choose_rates(name, settings), []).append(name)
        for (lr, decay), names in groups.items():
            if lr:
                self._update(names, lr, decay)

    def _update(self, names: Iterable[str], lr: float, decay: float) -> None:
        w: list[Tensor] = [self.parameters[name] for name in names]
        v = [self.velocity[name] for name in names]
        g: list[Tensor] = [p.grad for p in w]  # type: ignore[misc]
        torch._foreach_mul_(v, self.optim.momentum)
        if decay:
            torch._foreach_add_(v, w, alpha=-decay * lr)
        torch._foreach_add_(v, g, alpha=-lr)
        torch._foreach_add_(w, v)
