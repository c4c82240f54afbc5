"""Training batches: worker processes read and crop images while the device trains (section 4.1)."""

import math
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from multiprocessing import forkserver, parent_process, resource_tracker
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.runtime.cores import cores
from tencrop.training.augment import Draws
from tencrop.training.recipe import Recipe
from tencrop.training.stop_signal import SIGNALS

MAX_WORKERS = 24  # each gives 400 to 1,000 images/s of JPEGs
PREFETCH = 4  # batches that a worker keeps ready
SHARED_MEMORY = Path("/dev/shm")


def spare_cores() -> int:
    """Number of workers for this process: its share of the cores but one, which trains; 1 to MAX_WORKERS."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return min(MAX_WORKERS, max(1, cores() // processes - 1))


def count_slots(workers: int) -> int:
    """Number of batches in the memory that the workers fill: those that they keep ready, and one that is read."""
    return workers * PREFETCH + 1


def check_memory(workers: int, batch_bytes: int) -> None:
    """Raise WorkFailed where shared memory cannot hold the workers' batches. A full one would kill the workers."""
    needed = count_slots(workers) * batch_bytes
    if SHARED_MEMORY.is_dir() and needed > (free := shutil.disk_usage(SHARED_MEMORY).free):
        raise WorkFailed(
            f"{workers} workers keep {needed / 1e6:.0f} MB of batches ready in {SHARED_MEMORY}, "
            f"which has {free / 1e6:.0f} MB free",
            "lower --workers, or give it more (docker run --shm-size=4g)",
        )


class Batch(NamedTuple):
    """Input of a training step."""

    crops: Tensor  # uint8 [N,224,224,3], not mirrored yet
    corners: Tensor  # int64 [N,2]
    mirrored: Tensor  # bool [N]: whether the net sees the crop mirrored
    z: Tensor  # float32 [N,3]: a normal number for each colour direction
    labels: Tensor  # int64 [N]


class WorkerBatch(NamedTuple):
    """A batch as a worker sends it. The crops lie in a slot of the shared memory."""

    slot: int
    corners: np.ndarray
    mirrored: np.ndarray
    z: np.ndarray
    labels: np.ndarray


class Crops(Dataset[WorkerBatch]):
    """Crops of the training images, indexed by (slot, list of (epoch, sample)), a whole batch at a time.

    The crops of a batch are written to its slot of `slots`, uint8 [slots,N,224,224,3], which all processes share: fresh
    memory for each batch would take ten times as long as the copies.
    """

    def __init__(self, prepared: PreparedStore, recipe: Recipe, slots: Tensor) -> None:
        self.prepared, self.slots = prepared, slots
        self.draws = Draws(recipe.augment, prepared.contract, recipe.seed)

    def __getitems__(self, task: tuple[int, list[tuple[int, int]]]) -> WorkerBatch:
        slot, keys = task
        draws = [self.draws.draw(epoch, sample) for epoch, sample in keys]
        size = self.slots.shape[2]
        for place, (_, sample), d in zip(self.slots[slot].numpy(), keys, draws, strict=True):
            place[...] = self.prepared.read_crop(sample, d.top, d.left, size)
        return WorkerBatch(
            slot,
            np.array([(d.top, d.left) for d in draws]),
            np.array([d.mirrored for d in draws]),
            np.stack([d.z for d in draws]),
            self.prepared.labels[[sample for _, sample in keys]].astype(np.int64),
        )


class EpochOrder:
    """The batches of each epoch: a shuffle of the training images per epoch, without the last incomplete batch.

    `share` (i, n) takes every n-th image of a batch, from the i-th on. Raises BadInput where n does not divide a batch.
    """

    def __init__(self, prepared: PreparedStore, recipe: Recipe, share: tuple[int, int]) -> None:
        self.samples = np.flatnonzero(~prepared.validation)
        self.seed, self.batch = recipe.seed, min(recipe.optim.batch, len(self.samples))
        self.index, self.shares = share
        if self.batch % self.shares:
            raise BadInput(
                f"a batch of {self.batch} does not divide among {self.shares} processes",
                "change --nproc-per-node or optim.batch",
            )
        self.epoch, self.done = 0, 0  # the current epoch, and how many of its batches are done

    def __len__(self) -> int:
        return len(self.samples) // self.batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        random = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 1, self.epoch, 0]))
        order = random.permutation(self.samples)
        for start in range(self.done * self.batch, len(self) * self.batch, self.batch):
            yield [(self.epoch, int(sample)) for sample in order[start : start + self.batch][self.index :: self.shares]]


class SlottedOrder:
    """The batches of an epoch, each with its slot. A slot is used again once its batch was taken out."""

    def __init__(self, order: EpochOrder, slots: int) -> None:
        self.order, self.slots = order, slots

    def __iter__(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        return ((number % self.slots, keys) for number, keys in enumerate(self.order))


class Loader:
    """Loads this process's share of every batch. The workers live as long as the loader."""

    def __init__(self, prepared: PreparedStore, recipe: Recipe, workers: int, share: tuple[int, int] = (0, 1)) -> None:
        self.order = EpochOrder(prepared, recipe, share)
        slots, crop = count_slots(workers), prepared.contract.crop
        batch = (self.order.batch // self.order.shares, crop, crop, 3)
        if workers:
            check_memory(workers, math.prod(batch))
            _start_forkserver()
        self.slots = torch.empty((slots, *batch), dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        self.batches = DataLoader(
            Crops(prepared, recipe, self.slots),
            batch_sampler=SlottedOrder(self.order, slots),  # type: ignore[arg-type]
            num_workers=workers,
            multiprocessing_context="forkserver" if workers else None,  # a plain fork copies engines and held locks
            generator=torch.Generator(),  # a generator of its own leaves torch's global state alone
            collate_fn=_pass_on,  # type: ignore[arg-type]
            worker_init_fn=_init_worker,
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCH if workers else None,
        )

    def __len__(self) -> int:
        return len(self.order)

    def iter_epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, without the first `done`. On a machine with CUDA they lie in pinned memory."""
        self.order.epoch, self.order.done = epoch, done
        copy = Tensor.pin_memory if torch.cuda.is_available() else Tensor.clone
        for batch in self.batches:
            tensors = (self.slots[batch.slot], *map(torch.from_numpy, batch[1:]))
            yield Batch(*(copy(tensor) for tensor in tensors))

    def close(self) -> None:
        """End the workers now. They ignore signals, so an interpreter that ends on an error would wait forever."""
        workers = self.batches._iterator
        if isinstance(workers, _MultiProcessingDataLoaderIter):
            workers._shutdown_workers()


def _pass_on(batch: WorkerBatch) -> WorkerBatch:
    return batch


def _start_forkserver() -> None:
    """Start the server that forks the workers, with SIGTERM and Ctrl-C blocked.

    Torchrun sends SIGTERM to a training's whole process group, and the workers would end with their server.
    """
    resource_tracker.ensure_running()  # the server needs it; its start unblocks both signals, so it comes first
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _init_worker(worker: int) -> None:
    """Ignore stop signals, which the training handles, and end when the training ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_training, daemon=True).start()


def _end_with_training() -> None:
    """End this worker when the training process has ended.

    torch's own watchdog watches a worker's parent, here the fork server, which lives as long as its workers.
    """
    training = parent_process()
    if training:
        training.join()
        os._exit(1)
