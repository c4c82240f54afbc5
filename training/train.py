"""Trains a recipe to its end: epochs of the paper's regimen, each followed by a validation and a checkpoint."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch._dynamo.exc import TorchDynamoException

from tencrop.common.errors import BadInput, Stopped, WorkFailed, one_line
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.runtime.allocator import keep_freed_memory
from tencrop.training.epoch_record import EpochRecord
from tencrop.training.loader import Loader, spare_cores
from tencrop.training.parallel import init_distributed
from tencrop.training.recipe import Recipe
from tencrop.training.run_folder import RunFolder
from tencrop.training.schedule import compute_epoch_settings
from tencrop.training.stop_signal import Stop
from tencrop.training.trainer import ReportProgress, Trainer

FLAT = 0.99  # of ln C: a mean loss above it is that of guessing
FLAT_AFTER = 2  # epochs
LOADER_ERRORS = ("DataLoader worker", "Pin memory thread")  # how torch's messages about ended loader processes begin

log = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    prepared: PreparedStore,
    out: Path,
    resume: bool,
    workers: int | None,
    report: ReportProgress,
    columns: bool = False,
) -> list[EpochRecord]:
    """Train to the end of the recipe's schedule; returns one record per epoch.

    Under torchrun the processes train together; the first one writes and reports. Raises BadInput, WorkFailed, and
    after SIGTERM or Ctrl-C Stopped, when all progress is saved.
    """
    _check_split(prepared)
    keep_freed_memory()
    with init_distributed() as world, Stop() as stop:
        trainer = Trainer(recipe, prepared, world, columns)
        loader = Loader(prepared, recipe, spare_cores() if workers is None else workers, trainer.partition.share)
        saved = RunFolder.find_resumable(out, resume)
        if saved:
            trainer.restore(Checkpoint.load(saved[-1]))
            if not world.rank:
                _log_changes(trainer)
        if not world.all_equal([len(trainer.history), trainer.progress.steps]):
            raise WorkFailed(
                f"{out}: the processes find different checkpoints there", "name a folder that all machines see"
            )
        with closing(loader), _explain_failures(loader.order.batch):
            if world.rank:
                return _run_epochs(trainer, loader, stop, _ignore, _ignore)
            with RunFolder(out, recipe) as run:  # opened last: it writes, and nothing may be written before a refusal
                return _run_epochs(trainer, loader, stop, report, run.save)


def _check_split(prepared: PreparedStore) -> None:
    if not prepared.validation.any():
        raise BadInput(f"{prepared.root}: holds no validation images", "prepare it with --holdout 0.15")
    if prepared.validation.all():
        raise BadInput(f"{prepared.root}: holds no training images", "prepare it with a smaller --holdout")


def _run_epochs(
    trainer: Trainer, loader: Loader, stop: Stop, report: ReportProgress, save: Callable[[Checkpoint], None]
) -> list[EpochRecord]:
    recipe = trainer.recipe
    while settings := compute_epoch_settings(recipe, trainer.history):
        started = time.perf_counter() - trainer.progress.seconds
        try:
            training = trainer.train_epoch(loader, settings, stop, report)
        except Stopped:
            save(trainer.make_checkpoint())
            raise
        counts = trainer.validate()
        record = EpochRecord(
            epoch=trainer.epoch_number,
            lr=recipe.optim.lr * settings.scale,
            train_loss=training.loss,
            train_error=training.error,
            images_per_s=training.images_per_s,
            center_top1_error=counts.top1_error,
            center_top5_error=counts.top5_error,
            seconds=time.perf_counter() - started,
        )
        trainer.end_epoch(record)
        _warn_if_flat(trainer)
        save(trainer.make_checkpoint())
        if trainer.world.any(stop.requested):
            raise Stopped(f"stopped after epoch {len(trainer.history)}", number=stop.number)
    return trainer.history


def _log_changes(trainer: Trainer) -> None:
    for key, (old, new) in trainer.sessions[-1]["changed"].items():
        log.warning("--resume: %s is %s from here on; it was %s", key, new, old)


@contextmanager
def _explain_failures(batch: int) -> Iterator[None]:
    """Turn torch's errors about memory, compilation and ended workers into WorkFailed, with advice."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise WorkFailed(
            f"the device's memory does not hold the training of {batch} images at once", "lower optim.batch"
        ) from None
    except TorchDynamoException as error:
        reason = one_line(str(error).partition("Set TORCHDYNAMO")[0])
        raise WorkFailed(
            f"torch.compile failed ({reason})",
            "it needs a C++ compiler and, for a GPU, Python's headers: install them, or --set compile=false",
        ) from None
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith(LOADER_ERRORS):
            raise
        raise WorkFailed(
            f"a worker process ended ({one_line(error)})", "if memory ran out, lower --workers, then --resume"
        ) from None


def _ignore(*_: object) -> None:
    """Report or save nothing, as every process but the first does."""


def _warn_if_flat(trainer: Trainer) -> None:
    epochs, loss, classes = len(trainer.history), trainer.history[-1].train_loss, trainer.recipe.net.fc8.units
    guessing = math.log(classes)
    if epochs >= FLAT_AFTER and loss > FLAT * guessing and not trainer.world.rank:
        log.warning(
            "epoch %d: the loss %.2f is still that of guessing (ln %d = %.2f). The recipe paper may linger there for "
            "some epochs; else try another optim.lr, or init_std = 0.03 on conv3 to conv5, and see that images and "
            "labels belong together",
            *(epochs, loss, classes, guessing),
        )
