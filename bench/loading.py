"""Measures training's loader alone: its speed, and the CPU time that its workers take for an image."""

from collections.abc import Iterator
from itertools import chain, count

from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from bench.clock import Clock, Timing
from bench.doors.processes import read_process
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.runtime.allocator import keep_freed_memory
from tencrop.training.loader import Loader, spare_cores
from tencrop.training.recipe import Recipe

WORKER_US = "worker_us"  # key of the CPU time of all workers, microseconds an image


def time_loader(prepared: PreparedStore, recipe: Recipe, clock: Clock) -> Timing:
    """Load epoch after epoch until the clock's time is over."""
    keep_freed_memory()
    loader = Loader(prepared, recipe, spare_cores())
    readings: list[tuple[int, float]] = []  # images done, CPU seconds of the workers; after the warm-up

    def load_batches() -> Iterator[int]:
        done = 0
        for batch in chain.from_iterable(map(loader.iter_epoch, count(1))):
            done += len(batch.labels)
            if done >= clock.warm_up:
                readings.append((done, _read_workers(loader)))
            yield len(batch.labels)

    clock.count(load_batches())
    (before, began), (after, ended) = readings[0], readings[-1]
    return clock.timing() | {WORKER_US: (ended - began) / (after - before) * 1e6}


def _read_workers(loader: Loader) -> float:
    batches = loader.batches._iterator
    assert isinstance(batches, _MultiProcessingDataLoaderIter)
    return sum(read_process(worker.pid) for worker in batches._workers if worker.pid)
