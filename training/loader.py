"""Training batches: worker processes decode, crop and mirror while the device trains (section 4.1)."""

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
from tencrop.training.augment import draw
from tencrop.training.recipe import Recipe
from tencrop.training.stop_signal import SIGNALS

MAX_WORKERS = 24  # each decodes 400 to 1,000 images/s
PREFETCH = 4  # batches that a worker keeps ready
SHARED_MEMORY = Path("/dev/shm")


def spare_cores() -> int:
    """Number of workers for this process: its share of the cores but one, which trains; 1 to MAX_WORKERS."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return min(MAX_WORKERS, max(1, cores() // processes - 1))


def check_memory(workers: int, batch_bytes: int) -> None:
    """Raise WorkFailed where shared memory cannot hold the workers' batches. A full one would kill the workers."""
    needed = workers * PREFETCH * batch_bytes
    if SHARED_MEMORY.is_dir() and needed > (free := shutil.disk_usage(SHARED_MEMORY).free):
        raise WorkFailed(
            f"{workers} workers keep {needed / 1e6:.0f} MB of batches ready in {SHARED_MEMORY}, "
            f"which has {free / 1e6:.0f} MB free",
            "lower --workers, or give it more (docker run --shm-size=4g)",
        )


class Batch(NamedTuple):
    """Input of a training step."""

    crops: Tensor  # uint8 [N,224,224,3]
    corners: Tensor  # int64 [N,2]
    mirrored: Tensor  # bool [N]
    z: Tensor  # float32 [N,3]: a normal number for each colour direction
    labels: Tensor  # int64 [N]


class WorkerBatch(NamedTuple):
    """A batch as a worker sends it. Each tensor costs a round trip between processes, so only the crops are one."""

    crops: Tensor
    corners: np.ndarray
    mirrored: np.ndarray
    z: np.ndarray
    labels: np.ndarray


class Crops(Dataset[WorkerBatch]):
    """Augmented crops of the training images, indexed by a list of (epoch, sample), a whole batch at a time."""

    def __init__(self, prepared: PreparedStore, recipe: Recipe) -> None:
        self.prepared, self.recipe = prepared, recipe

    def __getitems__(self, keys: list[tuple[int, int]]) -> WorkerBatch:
        recipe, contract = self.recipe, self.prepared.contract
        draws = [draw(recipe.augment, contract, recipe.seed, epoch, sample) for epoch, sample in keys]
        crops = np.empty((len(keys), contract.crop, contract.crop, 3), np.uint8)
        for place, (_, sample), d in zip(crops, keys, draws, strict=True):
            place[...] = self.prepared.read_crop(sample, d.top, d.left, contract.crop)
        return WorkerBatch(
            torch.from_numpy(crops),
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


class Loader:
    """Loads this process's share of every batch. The workers live as long as the loader."""

    def __init__(self, prepared: PreparedStore, recipe: Recipe, workers: int, share: tuple[int, int] = (0, 1)) -> None:
        self.order = EpochOrder(prepared, recipe, share)
        if workers:
            check_memory(workers, self.order.batch // self.order.shares * 3 * prepared.contract.crop**2)
            _start_forkserver()
        self.batches = DataLoader(
            Crops(prepared, recipe),
            batch_sampler=self.order,
            num_workers=workers,
            multiprocessing_context="forkserver" if workers else None,  # a plain fork copies engines and held locks
            generator=torch.Generator(),  # a generator of its own leaves torch's global state alone
            collate_fn=_pass_on,  # type: ignore[arg-type]
            worker_init_fn=_init_worker,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCH if workers else None,
        )

    def __len__(self) -> int:
        return len(self.order)

    def iter_epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, without the first `done`."""
        self.order.epoch, self.order.done = epoch, done
        return (Batch(batch.crops, *map(torch.from_numpy, batch[1:])) for batch in self.batches)

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
