"""Evaluates one job's data set as `tencrop evaluate` does, on a served model.

Its forward passes begin only while no request to that model waits.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tencrop.common.errors import Stopped
from tencrop.dataset.account import Inventory
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source import Entries, Entry, Source
from tencrop.evaluation.evaluate import evaluate
from tencrop.evaluation.plan import plan_evaluation
from tencrop.evaluation.summary import Summary
from tencrop.model.contract import Label
from tencrop.server.batcher import Batcher
from tencrop.server.schemas import Validation


class InterruptibleSource(NamedTuple):
    """A data set whose `read` may raise Stopped: a chunk of large images takes many seconds."""

    root: Path
    labels: tuple[Label, ...]
    entries: Entries
    inventory: Inventory
    read: Callable[[Entry], bytes]


class BackgroundPredictor:
    """A served model as a job uses it: the forward passes are the job's own and begin only when no request waits."""

    def __init__(self, batcher: Batcher, is_stopped: Callable[[], bool]) -> None:
        model = batcher.model
        self.name, self.sha256, self.members = model.name, model.sha256, model.members
        self.contract, self.engine = model.contract, model.engine
        self.streams = 1  # `run_background` has one caller at a time
        self._batcher, self._is_stopped = batcher, is_stopped

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The model's own `forward`. Raises Stopped, and then the chunk is evaluated again when the job continues."""
        if self._is_stopped():
            raise Stopped("the job was stopped")
        return self._batcher.run_background(images, self._is_stopped)


def evaluate_job(
    job: Validation,
    folder: Path,
    out: Path,
    batcher: Batcher,
    is_stopped: Callable[[], bool],
    change: Callable[..., None],
) -> Summary:
    """Evaluate the data set in `folder`, or continue the run in `out`.

    Calls `change` with the new values of the job's fields, and with `keep=False` where they need not reach the disk.
    Raises Stopped once `is_stopped` returns true, BadInput, WorkFailed.
    """

    def check(_: int = 0) -> None:
        if is_stopped():
            raise Stopped("the job was stopped")

    source = open_source(folder, progress=check, training=False)
    model = BackgroundPredictor(batcher, is_stopped)
    plan = plan_evaluation(_interruptible(source, check), model, job.holdout, job.limit)
    change(total=len(plan.entries))
    check()
    return evaluate(plan, model, out, True, _follow(change, check))


def _interruptible(source: Source, check: Callable[[], None]) -> InterruptibleSource:
    def read(entry: Entry) -> bytes:
        check()
        return source.read(entry)

    return InterruptibleSource(source.root, source.labels, source.entries, source.inventory, read)


def _follow(change: Callable[..., None], check: Callable[[], None]) -> Callable[[int], None]:
    """A progress callback that reports the number of images, and their speed since its first call, to `change`."""
    first: tuple[float, int] | None = None

    def progress(images: int) -> None:
        nonlocal first
        now = time.monotonic()
        first = first or (now, images)
        rate = (images - first[1]) / (now - first[0]) if images > first[1] else None
        change(keep=False, images=images, images_per_s=rate)
        check()

    return progress
