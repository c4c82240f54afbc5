"""Augmentation of section 4.1: random crops, mirroring, colour noise. Draws depend on (seed, epoch, sample) alone."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tencrop.model.contract import Contract
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.training.recipe import Augment


class Draw(NamedTuple):
    """Random choices for one image in one epoch."""

    top: int  # of the crop
    left: int
    mirrored: bool
    z: np.ndarray  # float32 [3]: a normal number for each colour direction


class Draws:
    """Draws for the images of one training. A draw depends on (seed, epoch, sample) alone, on any machine or worker."""

    def __init__(self, augment: Augment, contract: Contract, seed: int) -> None:
        self.augment = augment
        self.last = contract.resize - contract.crop  # largest corner coordinate
        self.random = np.random.Generator(np.random.Philox(key=seed))
        self.state = self.random.bit_generator.state
        self.counter = self.state["state"]["counter"]

    def draw(self, epoch: int, sample: int) -> Draw:
        """Draw for one image. Sets the generator's counter, which takes a tenth of the time of a new generator."""
        self.counter[2], self.counter[3] = epoch, sample
        self.random.bit_generator.state = self.state
        integers, last = self.random.integers, self.last
        top, left = (integers(0, last + 1), integers(0, last + 1)) if self.augment.crops else (last // 2, last // 2)
        mirrored = self.random.random() < 0.5 and self.augment.mirror
        return Draw(int(top), int(left), mirrored, self.random.standard_normal(3, np.float32))


class Normalize(nn.Module):
    """Mirrors, subtracts the mean, adds colour noise, divides: uint8 crops [N,size,size,3] -> float [N,3,size,size].

    The division belongs to the noise: once a schedule switches the noise off, the 2012 program does not divide either.
    The mean is "aligned" (cut and mirrored with each image) or "center" (its center crop, the same for each image).
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
        """Normalize; corners int64 [N,2], mirrored bool [N], z float32 [N,3]."""
        pixels = crops.permute(0, 3, 1, 2)
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
        x = pixels.float() - (self._cut_mean(corners, mirrored) if self.aligned else self.mean)
        return (x + (z @ self.directions)[:, :, None, None]) / self.divide if noise else x

    def _cut_mean(self, corners: Tensor, mirrored: Tensor) -> Tensor:
        """Cut the part of the mean image under each crop, [N,3,size,size]."""
        along = torch.arange(self.size, device=corners.device)
        rows = corners[:, :1] + along
        columns = corners[:, 1:] + torch.where(mirrored[:, None], self.size - 1 - along, along)
        return self.mean[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)
