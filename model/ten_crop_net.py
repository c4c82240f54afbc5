"""TenCropNet: the ten-crop prediction of section 4.1 in torch. Training validates with it, export compares with it."""

import numpy as np
import torch
from torch import Tensor, nn

from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import CENTER_VIEW, Contract, View
from tencrop.model.net import AlexNet


class TenCropNet(nn.Module):
    """uint8 [N,R,R,3] -> (mean of the ten softmaxes [N,C], softmax of every view [N,10,C]).

    A mean of the resized image's size is subtracted before cropping ("aligned", the paper). A mean of the crop's size
    is subtracted after cropping and mirroring, and is never mirrored itself ("center", the 2012 program).
    """

    mean: Tensor

    def __init__(self, net: nn.Module, contract: Contract, mean: np.ndarray) -> None:
        super().__init__()
        self.net = net
        self.contract = contract
        self.register_buffer("mean", torch.from_numpy(np.asarray(mean, np.float32)))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "TenCropNet":
        """Build the prediction of a trained net, on the CPU in fp32."""
        return cls(AlexNet.from_weights(checkpoint.net, checkpoint.weights), checkpoint.contract, checkpoint.mean)

    def cut_views(self, images: Tensor, views: tuple[View, ...]) -> Tensor:
        """Cut the net's inputs from uint8 [N,R,R,3]: float [N,len(views),3,crop,crop], the mean subtracted."""
        x = images.permute(0, 3, 1, 2).float()
        aligned = self.mean.shape[-1] != self.contract.crop
        x = x - self.mean if aligned else x
        crops = torch.stack([self._crop(x, view) for view in views], dim=1)
        return crops if aligned else crops - self.mean

    def _crop(self, x: Tensor, view: View) -> Tensor:
        size = self.contract.crop
        crop = x[:, :, view.top : view.top + size, view.left : view.left + size]
        return crop.flip(-1) if view.mirrored else crop

    def predict_views(self, images: Tensor, views: tuple[View, ...]) -> Tensor:
        """Softmax of each of these views, [N,len(views),C]."""
        crops = self.cut_views(images, views)
        logits: Tensor = self.net(crops.flatten(0, 1)).float()
        return logits.softmax(-1).view(*crops.shape[:2], -1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        each = self.predict_views(images, self.contract.views)
        return each.mean(1), each

    def predict_center(self, images: Tensor) -> Tensor:
        """Softmax of the center crop alone, [N,C]."""
        return self.predict_views(images, (self.contract.views[CENTER_VIEW],))[:, 0]
