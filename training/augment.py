"""Section 4.1: random crops, mirrorings and colour noise. What is drawn depends on (seed, epoch, sample) alone."""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tencrop.model.contract import Contract
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.training.recipe import Augment


class Draw(NamedTuple):
    """One image's luck: the crop's corner, whether it is mirrored, and z ~ N(0,1) for each colour direction."""

    top: int
    left: int
    mirrored: bool
    z: np.ndarray  # float32 [3]


def draw(augment: Augment, contract: Contract, seed: int, epoch: int, sample: int) -> Draw:
    """The same arguments give the same draw on any machine, rank or worker."""
    random = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, epoch, sample]))
    far = contract.resize - contract.crop
    top, left = random.integers(0, far + 1, 2) if augment.crops else (far // 2, far // 2)
    mirrored = bool(random.random() < 0.5) and augment.mirror
    return Draw(int(top), int(left), mirrored, random.standard_normal(3, np.float32))


def crop(image: Image.Image, chance: Draw, size: int) -> np.ndarray:
    """uint8 [size,size,3]. By Pillow: numpy takes 0.2 ms to copy 224 x 224 mirrored pixels."""
    cut = image.crop((chance.left, chance.top, chance.left + size, chance.top + size))
    return np.asarray(cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if chance.mirrored else cut)


class Normalize(nn.Module):
    """uint8 crops [N,size,size,3] and their draws -> float [N,3,size,size]: mean subtracted, colour noise added, divided.

    The division belongs to the noise: once a schedule switches the noise off, the 2012 program divides no more.

    An aligned mean is cut and mirrored with its image; a center mean is subtracted as it is.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, augment: Augment, statistics: PixelStatistics, reading: str, size: int) -> None:
        super().__init__()
        self.size, self.aligned, self.divide = size, reading == "aligned", augment.noise_divide
        self.register_buffer("mean", torch.from_numpy(statistics.mean_to_subtract(reading, size)))
        scaled = augment.noise * statistics.colour_std[:, None] * statistics.colour_vectors
        self.register_buffer("directions", torch.from_numpy(scaled))  # [3 directions, RGB]

    def forward(self, crops: Tensor, corners: Tensor, mirrored: Tensor, z: Tensor, noise: bool) -> Tensor:
        """corners int64 [N,2], mirrored bool [N], z float32 [N,3]."""
        x = crops.permute(0, 3, 1, 2).float() - (self._cut(corners, mirrored) if self.aligned else self.mean)
        return (x + (z @ self.directions)[:, :, None, None]) / self.divide if noise else x

    def _cut(self, corners: Tensor, mirrored: Tensor) -> Tensor:
        """The mean under each crop, [N,3,size,size]."""
        along = torch.arange(self.size, device=corners.device)
        rows = corners[:, :1] + along
        columns = corners[:, 1:] + torch.where(mirrored[:, None], self.size - 1 - along, along)
        return self.mean[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)
