"""TorchReference: a checkpoint's net in torch, built once for the parity gate, the probe and int8's calibration."""

from collections.abc import Iterator

import numpy as np
import torch

from tencrop.export.parity_gate import BATCHES, ExpectedAnswers
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.feature_output import LAYERS
from tencrop.model.layer_table import layer_table
from tencrop.model.ten_crop_net import TenCropNet

VALUES = {value: layer for layer, values in LAYERS.items() for value in values}  # layers by the names of their values


class TorchReference:
    """The ten-crop prediction of a checkpoint on the CPU in fp32."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.lrn_nodes = sum(layer.op == "lrn" for layer in layer_table(checkpoint.net))
        self.net = TenCropNet.from_checkpoint(checkpoint)

    @torch.inference_mode()
    def expect(self, images: np.ndarray) -> ExpectedAnswers:
        """Answer uint8 images [n,R,R,3], n >= 1; fewer than max(BATCHES) images are repeated."""
        repeated = np.resize(images, (max(BATCHES), *images.shape[1:]))
        crops = self.net.cut_views(torch.from_numpy(repeated), self.net.contract.views)
        x, largest, features = crops.flatten(0, 1), {}, {}
        for name, layer in self.net.net.named_children():
            if name.startswith("lrn"):
                largest[name] = float(x.abs().max())
            x = layer(x)
            if name in VALUES:
                features[VALUES[name]] = x.reshape(*crops.shape[:2], -1).numpy()
        logits = x.view(*crops.shape[:2], -1)
        return ExpectedAnswers(
            name="torch",
            images=repeated,
            distinct=len(images),
            crops=crops.numpy(),
            views=slice(None),
            logits=logits.numpy(),
            probabilities=logits.softmax(-1).numpy(),
            lrn_nodes=self.lrn_nodes,
            largest_before_lrn=largest,
            features=features,
        )

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N,R,R,3] -> mean probabilities of the ten views [N,C]."""
        mean, _ = self.net(torch.from_numpy(images.copy()))
        return np.asarray(mean.numpy())

    def crop_each(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """The net's input for one image after the other, float32 [10,3,crop,crop]."""
        for image in images:
            yield self.net.cut_views(torch.from_numpy(image[None]), self.net.contract.views)[0].numpy()
