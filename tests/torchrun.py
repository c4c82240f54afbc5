"""Trainings in two processes on CPUs, as torchrun starts them: images, recipes, and the worker that torchrun runs.

python -m torch.distributed.run --standalone --nproc-per-node=2 tests/torchrun.py PREPARED JOBS.json
"""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.net import AlexNet
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.training import parallel
from tencrop.training import train as train_module
from tencrop.training import trainer as trainer_module
from tencrop.training.loader import Batch, Loader
from tencrop.training.recipe import load
from tencrop.training.schedule import EpochSettings
from tencrop.training.stop_signal import Stop
from tencrop.training.trainer import Trainer

CLASSES, EACH, HELD = (
    7,
    15,
    3,
)  # 84 training images, 5 batches of 16 an epoch; 21 validation images, which 2 does not divide
STEPS = 5
REPORT = 2  # so the processes read their sums, and hear of a signal, after steps 1, 3 and 5
PLAIN = ("compile=false", "precision=fp32", "optim.batch=16", "events=[]")
# Two orders of summation differ by 1e-7. Where an activation is that close to 0, or two in a pooling window are that
# close to each other, they switch: small steps and no dropout keep this from growing.
EXACT = (
    *PLAIN,
    *("epochs=4", "net.dropout.p=0.0", "optim.lr=0.0003", "optim.bias_lr=0.0001"),
    *(f"net.conv{i}.channels={channels}" for i, channels in ((1, 16), (2, 32), (3, 48), (4, 48), (5, 32))),
    *(f"net.fc{i}.units=256" for i in (6, 7)),
)
FROZEN = (  # conv1 is never trained, conv2 only in the first epoch
    *EXACT,
    *("epochs=2", "optim.layers.conv1.lr=0.0", "optim.layers.fc8.lr=2.0", "events=[{after=1, frozen=['conv2']}]"),
)
NOISY = (  # with dropout
    *PLAIN,
    *("epochs=2", "optim.lr=0.001", "optim.bias_lr=0.0001"),
    *(f"net.conv{i}.channels={channels}" for i, channels in ((1, 8), (2, 16), (3, 16), (4, 16), (5, 16))),
    *(f"net.fc{i}.units=64" for i in (6, 7)),
)
STEP, ITER_EPOCH, RAND_LIKE = (
    Trainer._step,
    Loader.iter_epoch,
    torch.rand_like,
)  # as they are without hooks


@dataclass(frozen=True)
class Job:
    """One training. `kill` and `term` are the (epoch, step, rank) at which a process sends itself that signal.

    It is killed only once. SIGTERM goes to its whole process group, as torchrun sends it. Step 0 is the wait for the
    first batch.
    """

    out: str
    set: Sequence[str]
    recipe: str = "source145"
    columns: bool = False
    apart: bool = False  # each process has a folder of its own
    resume: bool = False
    workers: int = 0
    kill: Sequence[int] = ()
    term: Sequence[int] = ()
    masks: list[str] = field(default_factory=list)  # a digest of each dropout mask
    fc8: list[str] = field(default_factory=list)  # a digest of the last layer after each step


def smooth_noise(root: Path) -> PreparedStore:
    """Pictures in which no two neighbours are equal for long, so that no pooling window has two largest values."""
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / "images" / f"class{label}").mkdir(parents=True)
        for number in range(EACH):
            coarse = Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
            coarse.resize((256, 256), Image.Resampling.BICUBIC).save(
                root / "images" / f"class{label}" / f"{number}.bmp"
            )
    prepare(open_source(root / "images"), root / "prepared", HELD / EACH, lambda done: None)
    return PreparedStore.open(root / "prepared")


def torchrun(*command: str, restarts: int = 0) -> list[str]:
    """Make the command line that starts two processes."""
    flags = ("--standalone", "--nproc-per-node=2", f"--max-restarts={restarts}")
    return [sys.executable, "-m", "torch.distributed.run", *flags, *command]


def environment() -> dict[str, str]:
    """Environment with one thread per process and the modules of this checkout."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}


def run_jobs(prepared: PreparedStore, jobs: Sequence[Job], restarts: int = 0, alone: bool = False) -> str:
    """Run the jobs one after another in the same two processes, or in one; returns their stderr."""
    plan = Path(f"{jobs[0].out}.jobs.json")
    plan.write_text(json.dumps([dataclasses.asdict(job) for job in jobs]))
    worker = (__file__, str(prepared.root), str(plan))
    command = [sys.executable, *worker] if alone else torchrun(*worker, restarts=restarts)
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=300, start_new_session=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def train_in_this_process(prepared: PreparedStore, job: Job, stop_at: tuple[int, int] | None = None) -> None:
    """Train in this process alone; `stop_at` (epoch, step) stops it in the middle."""
    stops: list[Stop] = []

    class RecordedStop(Stop):
        def __enter__(self) -> "RecordedStop":
            stops.append(self)
            return self

    def step(trainer: Trainer, batch: Batch, settings: EpochSettings, number: int) -> Tensor:
        stops[-1].requested |= (trainer.epoch_number, number) == stop_at
        return STEP(trainer, batch, settings, number)

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(train_module, "keep_freed_memory", lambda: None)  # the tests' process keeps its allocator
        patch.setattr(train_module, "Stop", RecordedStop)
        patch.setattr(Trainer, "_step", step)
        train_module.train(load(job.recipe, job.set), prepared, Path(job.out), job.resume, 0, lambda *_: None)


def read_reports(out: Path, rank: int) -> list[dict[str, Any]]:
    """Read a process's reports on the jobs in a folder: how each ended, its checkpoints and its digests."""
    return [json.loads(line) for line in Path(f"{out}.rank{rank}").read_text().splitlines()]


def measure_divergence(one: Checkpoint, other: Checkpoint) -> tuple[float, float]:
    """Measure how far two trainings with the same start differ, the worst over all parameters, by Euclidean norms.

    |difference| / |weights| over the parameters that did not begin at 0, and |difference| / |movement since the
    beginning| over all but the biases that began at 1, of whose movement fp32 keeps three digits.
    """
    begun = AlexNet(one.net)
    begun.init(one.recipe["seed"])
    of_weights, of_movement = [0.0], [0.0]
    for name, start in begun.weights().items():
        apart, moved = (float(np.linalg.norm(one.weights[name] - value)) for value in (other.weights[name], start))
        if start.any():
            of_weights.append(apart / float(np.linalg.norm(one.weights[name])))
        if not (name.endswith("bias") and start.any()):
            of_movement.append(apart / moved if moved else apart)  # a frozen one has not moved
    return max(of_weights), max(of_movement)


# ---- the worker


def main() -> None:
    prepared = PreparedStore.open(Path(sys.argv[1]))
    jobs = [Job(**job) for job in json.loads(Path(sys.argv[2]).read_text())]
    with parallel.init_distributed() as world:
        trainer_module.REPORT = REPORT
        train_module.init_distributed = lambda: nullcontext(world)  # type: ignore[assignment, attr-defined, return-value]
        for job in jobs:
            _install_hooks(job, world.rank)
            ended = _train(job, prepared, world.rank)
            world.any(False)  # wait: the first process writes
            checkpoints = [path.name for path in list_checkpoints(Path(job.out))]
            with Path(f"{job.out}.rank{world.rank}").open("a") as file:
                file.write(
                    json.dumps({"ended": ended, "checkpoints": checkpoints, "masks": job.masks, "fc8": job.fc8}) + "\n"
                )


def _train(job: Job, prepared: PreparedStore, rank: int) -> str:
    recipe = load(job.recipe, job.set)
    try:
        out = Path(f"{job.out}{rank}" if job.apart else job.out)
        train_module.train(recipe, prepared, out, job.resume, job.workers, lambda *_: None, job.columns)
    except (BadInput, Stopped, WorkFailed) as end:
        return f"{type(end).__name__}: {end}"
    return "well"


def _install_hooks(job: Job, rank: int) -> None:
    """Make a process send the job's signals at their step, and record dropout masks and the last layer."""

    def _step(self: Trainer, batch: Batch, settings: EpochSettings, step: int) -> Tensor:
        here, marker = [self.epoch_number, step, rank], Path(f"{job.out}.killed")
        if here == list(job.kill) and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if here == list(job.term):
            os.killpg(0, signal.SIGTERM)
        losses = STEP(self, batch, settings, step)
        job.fc8.append(_digest(next(self.net.get_submodule("fc8").parameters())))
        return losses

    def iter_epoch(self: Loader, epoch: int, done: int = 0) -> Iterator[Batch]:
        batches = ITER_EPOCH(self, epoch, done)
        if [epoch, 0, rank] == list(job.term):
            os.killpg(0, signal.SIGTERM)
        return batches

    def rand_like(*arguments: Any, **named: Any) -> Tensor:
        drawn = RAND_LIKE(*arguments, **named)
        job.masks.append(_digest(drawn))
        return drawn

    Trainer._step = _step  # type: ignore[method-assign]
    Loader.iter_epoch = iter_epoch  # type: ignore[method-assign]
    torch.rand_like = rand_like


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()


if __name__ == "__main__":
    main()
