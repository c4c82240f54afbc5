"""Training batches: workers decode, crop and mirror on the CPU while the device trains on the batch before (section 4.1)."""

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
from tencrop.training.augment import crop, draw
from tencrop.training.recipe import Recipe
from tencrop.training.stop_signal import SIGNALS

MOST = 24  # workers: 400 to 1,000 images/s each
AHEAD = 4  # batches that a worker keeps ready
SHARED = Path("/dev/shm")


def spare_cores() -> int:
    """How many workers suit this process: its share of the cores, one left to the training itself; at least 1, at most MOST."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return min(MOST, max(1, cores() // processes - 1))


def check_memory(workers: int, batch_bytes: int) -> None:
    """Raises WorkFailed where the batches that workers keep ready do not fit what processes share, which would end them by a signal."""
    needed = workers * AHEAD * batch_bytes
    if SHARED.is_dir() and needed > (free := shutil.disk_usage(SHARED).free):
        raise WorkFailed(
            f"{workers} workers keep {needed / 1e6:.0f} MB of batches ready in {SHARED}, which has {free / 1e6:.0f} MB free; "
            "lower --workers, or give it more (docker run --shm-size=4g)"
        )


class Batch(NamedTuple):
    """What a step takes: crops uint8 [N,224,224,3], corners int64 [N,2], mirrored bool [N], z float32 [N,3], labels int64 [N]."""

    crops: Tensor
    corners: Tensor
    mirrored: Tensor
    z: Tensor
    labels: Tensor


class WorkerBatch(NamedTuple):
    """A batch as a worker sends it. Each tensor takes a conversation between the processes, so all but the crops travel by value."""

    crops: Tensor
    corners: np.ndarray
    mirrored: np.ndarray
    z: np.ndarray
    labels: np.ndarray


class Crops(Dataset[WorkerBatch]):
    """Indexed by (epoch, sample), a whole batch at a time."""

    def __init__(self, prepared: PreparedStore, recipe: Recipe) -> None:
        self.prepared, self.recipe = prepared, recipe

    def __getitems__(self, keys: list[tuple[int, int]]) -> WorkerBatch:
        recipe, contract = self.recipe, self.prepared.contract
        draws = [draw(recipe.augment, contract, recipe.seed, epoch, sample) for epoch, sample in keys]
        crops = np.empty((len(keys), contract.crop, contract.crop, 3), np.uint8)
        for place, (_, sample), d in zip(crops, keys, draws, strict=True):
            place[...] = crop(self.prepared.image(sample), d, contract.crop)
        return WorkerBatch(
            torch.from_numpy(crops),
            np.array([(d.top, d.left) for d in draws]),
            np.array([d.mirrored for d in draws]),
            np.stack([d.z for d in draws]),
            self.prepared.labels[[sample for _, sample in keys]].astype(np.int64),
        )


class EpochOrder:
    """Each epoch's batches: its own shuffle of the training images, the last incomplete batch left out.

    `share` (i, n) takes every n-th image of each batch, from the i-th. Raises BadInput where a batch has no n equal shares.
    """

    def __init__(self, prepared: PreparedStore, recipe: Recipe, share: tuple[int, int]) -> None:
        self.samples = np.flatnonzero(~prepared.validation)
        self.seed, self.batch = recipe.seed, min(recipe.optim.batch, len(self.samples))
        self.index, self.shares = share
        if self.batch % self.shares:
            raise BadInput(
                f"a batch of {self.batch} does not divide among {self.shares} processes; change --nproc-per-node or optim.batch"
            )
        self.epoch, self.done = 0, 0  # batches of the epoch that are done already

    def __len__(self) -> int:
        return len(self.samples) // self.batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        random = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 1, self.epoch, 0]))
        order = random.permutation(self.samples)
        for start in range(self.done * self.batch, len(self) * self.batch, self.batch):
            yield [(self.epoch, int(sample)) for sample in order[start : start + self.batch][self.index :: self.shares]]


class Loader:
    """`epoch(e)` yields the batches of epoch e, this process's share of each; the workers live as long as the loader."""

    def __init__(self, prepared: PreparedStore, recipe: Recipe, workers: int, share: tuple[int, int] = (0, 1)) -> None:
        self.order = EpochOrder(prepared, recipe, share)
        if workers:
            check_memory(workers, self.order.batch // self.order.shares * 3 * prepared.contract.crop**2)
            _start_forkserver()
        self.batches = DataLoader(
            Crops(prepared, recipe),
            batch_sampler=self.order,
            num_workers=workers,
            multiprocessing_context="forkserver"
            if workers
            else None,  # a plain fork inherits engines and locks of other threads
            generator=torch.Generator(),  # its own, so that loading leaves torch's alone
            collate_fn=_pass_on,  # type: ignore[arg-type]
            worker_init_fn=_init_worker,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            prefetch_factor=AHEAD if workers else None,
        )

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """Its batches behind the first `done`."""
        self.order.epoch, self.order.done = epoch, done
        return (Batch(made.crops, *map(torch.from_numpy, made[1:])) for made in self.batches)

    def close(self) -> None:
        """End the workers now: they hear no signals, so an interpreter that ends on an exception would wait for them for ever."""
        workers = self.batches._iterator
        if isinstance(workers, _MultiProcessingDataLoaderIter):
            workers._shutdown_workers()


def _pass_on(made: WorkerBatch) -> WorkerBatch:
    return made


def _start_forkserver() -> None:
    """Torchrun sends SIGTERM to a training's whole process group, and the workers end with the server that forked them.

    It inherits that SIGTERM and Ctrl-C are blocked.
    """
    resource_tracker.ensure_running()  # which the server needs, and which unblocks them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _init_worker(worker: int) -> None:
    """It decides what signals mean and needs its workers to end well; they end with it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_training, daemon=True).start()


def _end_with_the_training() -> None:
    """torch's own watch is on the fork server, which lives as long as its workers."""
    training = parent_process()
    if training:
        training.join()
        os._exit(1)
