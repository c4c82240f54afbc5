"""The training loop: epochs of the paper's regimen, each ended by validation and a checkpoint."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.exc import TorchDynamoException

from tencrop.common.errors import BadInput, Stopped, WorkFailed, one_line
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.runtime.allocator import keep_freed_memory
from tencrop.training.loader import Loader, spare_cores
from tencrop.training.parallel import init_distributed
from tencrop.training.recipe import Recipe
from tencrop.training.run_folder import RunFolder
from tencrop.training.schedule import compute_epoch_settings
from tencrop.training.stop_signal import Stop
from tencrop.training.trainer import EpochProgress, Progress, Trainer

FLAT = 0.99  # of ln C: a mean loss above it is that of guessing
FLAT_AFTER = 2  # epochs
LOADERS = ("DataLoader worker", "Pin memory thread")  # that torch says have ended

log = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    prepared: PreparedStore,
    out: Path,
    resume: bool,
    workers: int | None,
    progress: Progress,
    columns: bool = False,
) -> list[dict[str, Any]]:
    """Train to the end of the recipe's schedule; returns the history, one row an epoch.

    Under torchrun with its other processes, of which the first writes and reports. Raises BadInput, WorkFailed, and
    Stopped (saved, nothing lost) after SIGTERM or Ctrl-C.
    """
    if not prepared.validation.any():
        raise BadInput(f"{prepared.root}: holds no validation images; prepare it with --holdout 0.15")
    if prepared.validation.all():
        raise BadInput(f"{prepared.root}: holds no training images; prepare it with a smaller --holdout")
    keep_freed_memory()
    with init_distributed() as world, Stop() as stop:
        training = Trainer(recipe, prepared, world, columns)
        loader = Loader(prepared, recipe, spare_cores() if workers is None else workers, training.layout.share)
        saved = RunFolder.find_resumable(out, resume)
        if saved:
            training.restore(Checkpoint.load(saved[-1]))
            if not world.rank:
                _say_changes(training)
        if not world.agree([len(training.history), training.part.steps]):
            raise WorkFailed(
                f"{out}: the processes find different checkpoints there; name a folder that all machines see"
            )
        with closing(loader), _explained(loader.order.batch):
            if world.rank:
                return _epochs(training, loader, stop, _nothing, _nothing)
            with RunFolder(out, recipe) as run:  # writes, so only after every refusal
                return _epochs(training, loader, stop, progress, run.save)


def _epochs(
    training: Trainer, loader: Loader, stop: Stop, progress: Progress, save: Callable[[Checkpoint], None]
) -> list[dict[str, Any]]:
    recipe = training.recipe
    while now := compute_epoch_settings(recipe, training.history):
        started = time.perf_counter() - training.part.seconds
        row: dict[str, Any] = {"epoch": training.number, "lr": recipe.optim.lr * now.scale}
        try:
            row |= training.epoch(loader, now, stop, progress)
        except Stopped:
            save(training.checkpoint())
            raise
        counts = training.validate()
        row |= {"center_top1_error": counts.top1_error, "center_top5_error": counts.top5_error}
        training.history.append(row | {"seconds": time.perf_counter() - started})
        training.part = EpochProgress()
        _warn_if_flat(training)
        save(training.checkpoint())
        if training.world.any(stop.requested):
            raise Stopped(f"stopped after epoch {len(training.history)}")
    return training.history


def _say_changes(training: Trainer) -> None:
    for key, (was, now) in training.sessions[-1]["changed"].items():
        log.warning("--resume: %s is %s from here on; it was %s", key, now, was)


@contextmanager
def _explained(batch: int) -> Iterator[None]:
    """What torch raises where memory ran out, the device's or the machine's, or where it cannot compile. Raises WorkFailed."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise WorkFailed(
            f"the device's memory does not hold the training of {batch} images at once; lower optim.batch"
        ) from None
    except TorchDynamoException as error:
        needs = "it needs a C++ compiler and, for a GPU, Python's headers: install them, or --set compile=false"
        why = one_line(str(error).partition("Set TORCHDYNAMO")[0])
        raise WorkFailed(f"torch.compile failed ({why}); {needs}") from None
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith(LOADERS):
            raise
        raise WorkFailed(
            f"a process that decodes was ended ({one_line(error)}); if memory ran out, lower --workers, then --resume"
        ) from None


def _nothing(*_: Any) -> None:
    """What processes but the first report and write."""


def _warn_if_flat(training: Trainer) -> None:
    epochs, loss, guessing = (
        len(training.history),
        training.history[-1]["train_loss"],
        math.log(training.recipe.net.fc8.units),
    )
    if epochs >= FLAT_AFTER and loss > FLAT * guessing and not training.world.rank:
        log.warning(
            "epoch %d: the loss %.2f is still that of guessing (ln %d = %.2f). The recipe paper may linger there for some epochs; "
            "else try another optim.lr, or init_std = 0.03 on conv3 to conv5, and see that images and labels belong together",
            *(epochs, loss, training.recipe.net.fc8.units, guessing),
        )
