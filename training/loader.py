"""Training batches: workers decode, crop and mirror on the CPU while the device trains on the batch before (section 4.1)."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dataset.prepared import Prepared
from training.augment import crop, draw
from training.recipe import Recipe


class Batch(NamedTuple):
    """crops uint8 [N,224,224,3], corners int64 [N,2], mirrored bool [N], z float32 [N,3], labels int64 [N]."""

    crops: Tensor
    corners: Tensor
    mirrored: Tensor
    z: Tensor
    labels: Tensor


class Crops(Dataset[Batch]):
    """Indexed by (epoch, sample), a whole batch at a time."""

    def __init__(self, prepared: Prepared, recipe: Recipe) -> None:
        self.prepared, self.recipe = prepared, recipe

    def __getitems__(self, keys: list[tuple[int, int]]) -> Batch:
        recipe, contract = self.recipe, self.prepared.contract
        draws = [draw(recipe.augment, contract, recipe.seed, epoch, sample) for epoch, sample in keys]
        crops = [crop(self.prepared.pixels(sample), d, contract.crop) for (_, sample), d in zip(keys, draws, strict=True)]
        return Batch(
            torch.from_numpy(np.stack(crops)),
            torch.tensor([(d.top, d.left) for d in draws]),
            torch.tensor([d.mirrored for d in draws]),
            torch.from_numpy(np.stack([d.z for d in draws])),
            torch.from_numpy(self.prepared.labels[[sample for _, sample in keys]].astype(np.int64)),
        )


class EpochOrder:
    """Each epoch's batches: its own shuffle of the training images, the last incomplete batch left out."""

    def __init__(self, prepared: Prepared, recipe: Recipe) -> None:
        self.samples = np.flatnonzero(~prepared.validation)
        self.seed, self.batch = recipe.seed, min(recipe.optim.batch, len(self.samples))
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.samples) // self.batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        random = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 1, self.epoch, 0]))
        order = random.permutation(self.samples)
        for start in range(0, len(self) * self.batch, self.batch):
            yield [(self.epoch, int(sample)) for sample in order[start : start + self.batch]]


class Loader:
    """`epoch(e)` yields the batches of epoch e; the workers live as long as the loader."""

    def __init__(self, prepared: Prepared, recipe: Recipe, workers: int) -> None:
        self.order = EpochOrder(prepared, recipe)
        self.batches = DataLoader(
            Crops(prepared, recipe),
            batch_sampler=self.order,
            num_workers=workers,
            multiprocessing_context="forkserver" if workers else None,  # a plain fork inherits engines and locks of other threads
            generator=torch.Generator(),  # its own: the dropout masks are drawn from torch's, and a run must resume bit for bit
            collate_fn=_as_made,  # type: ignore[arg-type]
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
        )

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        self.order.epoch = epoch
        return iter(self.batches)


def _as_made(batch: Batch) -> Batch:
    return batch
