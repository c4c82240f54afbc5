"""Section 5's update rule as written: v = momentum v - decay lr w - lr g; w = w + v, one fused pass over each group.

The rate is inside v, so at a drop of lr the old steps keep their size (torch.optim.SGD multiplies v by the new lr).
Where lr is 0 the update is skipped, momentum included, as in the 2012 program.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tencrop.training.recipe import Optim
from tencrop.training.schedule import EpochSettings


class Momentum(torch.optim.Optimizer):
    """The velocities of a net's parameters, by name, and the step that moves both.

    One of torch's optimizers only so that its loss scaling for fp16 knows how to step it.
    """

    def __init__(self, net: nn.Module, optim: Optim) -> None:
        super().__init__(net.parameters(), {})
        self.optim = optim
        self.parameters = dict(net.named_parameters())
        self.velocity = {name: torch.zeros_like(p) for name, p in self.parameters.items()}

    def rates(self, name: str, phase: EpochSettings) -> tuple[float, float]:
        """(lr, decay) of a parameter in this phase of the schedule."""
        layer, bias = name.split(".")[0], name.endswith("bias")
        if layer in phase.frozen:
            return 0.0, 0.0
        if bias:
            return self.optim.bias_lr * (phase.scale if self.optim.bias_drops else 1.0), self.optim.bias_decay
        return phase.layer_lr.get(layer, self.optim.lr * phase.scale), self.optim.decay

    @torch.no_grad()
    def step(self, phase: EpochSettings) -> None:  # type: ignore[override]
        """One update from the gradients; parameters of one (lr, decay) go together."""
        groups: dict[tuple[float, float], list[str]] = {}
        for name in self.parameters:
            groups.setdefault(self.rates(name, phase), []).append(name)
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
