"""Evaluates chunks of images under every condition: an image is decoded once, then corrupted and predicted many times.

While the engine computes one condition, the next one's images are corrupted.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tencrop.evaluation.chunks import decode_chunks
from tencrop.evaluation.corruption.conditions import Condition
from tencrop.evaluation.corruption.records import condition_table, write_part
from tencrop.evaluation.part_file import explain_full_disk
from tencrop.evaluation.plan import Plan
from tencrop.images.corruptions.table import corrupt
from tencrop.images.decode_processes import run_in_processes
from tencrop.runtime.cores import cores
from tencrop.runtime.engine import batch_size
from tencrop.runtime.ensemble import Predictor

AHEAD = 1  # conditions that are prepared while the engine computes one

Corrupt = Callable[[np.ndarray, Condition, str], np.ndarray]  # a square, its condition, the image's id


def evaluate_corrupted_chunks(
    plan: Plan,
    conditions: Sequence[Condition],
    frost: Path | None,
    chunks: Sequence[int],
    out: Path,
    model: Predictor,
    workers: int = 0,
) -> Iterator[int]:
    """Evaluate these chunks, and yield the number of images after each condition of each chunk.

    `workers` processes corrupt the images, or threads where it is 0. Raises WorkFailed where an image is gone or a part
    file cannot be written; the part files before it stay.
    """
    size = batch_size(model.engine)
    with ExitStack() as stack:
        run = stack.enter_context(run_in_processes(corrupt, workers))
        pool = ThreadPoolExecutor(workers or cores(), "corrupt")
        stack.callback(pool.shutdown, cancel_futures=True)
        forwards = stack.enter_context(ThreadPoolExecutor(model.streams, "forward"))

        def corrupt_one(square: np.ndarray, condition: Condition, id: str) -> np.ndarray:
            corrupted: np.ndarray = run(square, *condition, id, frost)
            return corrupted

        for chunk, images, failures in decode_chunks(plan, chunks, model.contract, size, 0):
            entries, labels = plan.chunk(chunk)
            right = labels, plan.chunk_also_right(chunk)
            ids = [None if failure.reason else entry.id for entry, failure in zip(entries, failures, strict=True)]
            tables = []
            for condition, corrupted in _corrupt_in_turn(images, ids, conditions, corrupt_one, pool):
                batches = forwards.map(model.forward, np.split(corrupted, range(size, len(corrupted), size)))
                mean, views = (np.concatenate(arrays)[: len(entries)] for arrays in zip(*batches, strict=True))
                tables.append(condition_table(condition, entries, *right, failures, *plan.restrict(mean, views)))
                yield len(entries)
            with explain_full_disk(out):
                write_part(out, chunk, tables)


class _Corrupting(NamedTuple):
    """The images of a chunk under one condition, and the tasks that corrupt them."""

    condition: Condition
    images: np.ndarray
    tasks: list[Future[None]]

    def wait(self) -> tuple[Condition, np.ndarray]:
        """Return (condition, images) when all images are corrupted."""
        for task in self.tasks:
            task.result()
        return self.condition, self.images


def _corrupt_in_turn(
    images: np.ndarray,
    ids: Sequence[str | None],
    conditions: Sequence[Condition],
    corrupt_one: Corrupt,
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[Condition, np.ndarray]]:
    """Yield each condition with a corrupted copy of the images. Those without an id stay as they are."""

    def start(condition: Condition) -> _Corrupting:
        corrupted = images.copy()

        def put(place: int, id: str) -> None:
            corrupted[place] = corrupt_one(images[place], condition, id)

        return _Corrupting(
            condition, corrupted, [pool.submit(put, place, id) for place, id in enumerate(ids) if id is not None]
        )

    started = deque[_Corrupting]()
    for condition in conditions:
        started.append(start(condition))
        if len(started) > AHEAD:
            yield started.popleft().wait()
    while started:
        yield started.popleft().wait()
