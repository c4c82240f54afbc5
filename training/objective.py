"""Objective: the loss of a batch, multinomial logistic regression (section 3.5)."""

from torch import Tensor, nn
from torch.nn import functional as F

from tencrop.training.augment import Normalize
from tencrop.training.loader import Batch


class Objective(nn.Module):
    """A batch -> (mean cross-entropy, number of wrong top-1 guesses), both scalars."""

    def __init__(self, normalize: Normalize, net: nn.Module) -> None:
        super().__init__()
        self.normalize, self.net = normalize, net

    def forward(self, batch: Batch, noise: bool) -> tuple[Tensor, Tensor]:
        crops, corners, mirrored, z, labels = batch
        logits = self.net(self.normalize(crops, corners, mirrored, z, noise)).float()
        return F.cross_entropy(logits, labels), (logits.argmax(1) != labels).sum()
