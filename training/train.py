"""Trains a recipe to its end: epochs of the paper's regimen, each followed by a validation and a checkpoint."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch._dynamo.exc import TorchDynamoException

from tencrop.common.errors import BadInput, Stopped, WorkFailed, one_line
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint, DamagedCheckpoint
from tencrop.model.layer_table import layer_table
from tencrop.model.run_progress import EpochRecord
from tencrop.runtime.allocator import keep_freed_memory
from tencrop.training.loader import Loader, spare_cores
from tencrop.training.parallel import init_distributed
from tencrop.training.recipe import Recipe
from tencrop.training.resume_check import check_schedule
from tencrop.training.run_folder import RunFolder
from tencrop.training.schedule import compute_epoch_settings
from tencrop.training.stop_signal import Stop
from tencrop.training.trainer import ReportProgress, Trainer

FLAT = 0.99  # of ln C: a mean loss above it is that of guessing
FLAT_AFTER = 2  # epochs
WIDE = 0.03  # init_std of the convolutional layers behind conv2 that leaves the loss of guessing soon (docs/results.md)
NOTHING_WHOLE = "no older one is whole: start again in another --out, or from other weights by --start CHECKPOINT"
LOADER_ERRORS = "DataLoader worker"  # how torch's message about an ended loader process begins

log = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    prepared: PreparedStore,
    out: Path,
    resume: bool,
    workers: int | None,
    report: ReportProgress,
    columns: bool = False,
    resume_from: Path | None = None,
) -> list[EpochRecord]:
    """Train to the end of the recipe's schedule; returns one record per epoch.

    resume: continue from the newest checkpoint in `out`; resume_from: continue from this one, and set newer ones aside.
    Under torchrun the processes train together; the first one writes and reports. Raises BadInput, WorkFailed, and
    after SIGTERM or Ctrl-C Stopped, when all progress is saved.
    """
    _check_split(prepared)
    if recipe.net.input <= prepared.contract.resize:  # else the trainer refuses
        prepared = replace(prepared, contract=replace(prepared.contract, crop=recipe.net.input))
    keep_freed_memory()
    with init_distributed() as world, Stop(speaks=not world.rank) as stop:
        trainer = Trainer(recipe, prepared, world, columns)
        loader = Loader(prepared, recipe, spare_cores() if workers is None else workers, trainer.partition.share)
        checkpoints = RunFolder.find_resumable(out, resume, resume_from)
        if checkpoints:
            _restore(trainer, checkpoints)
            _check_changes(trainer)
        elif recipe.start and not world.rank:
            log.info("start: %s: %s", recipe.start, trainer.initial.describe())
        if not world.all_equal([len(trainer.history), trainer.progress.steps]):
            raise WorkFailed(
                f"{out}: the processes find different checkpoints there", "name a folder that all machines see"
            )
        with closing(loader), _explain_failures(loader.order.batch):
            if world.rank:
                return _run_epochs(trainer, loader, stop, _ignore, _ignore)
            # opened last: it writes, and nothing may be written before a refusal
            with RunFolder(out, recipe, trainer.epoch_number) as run:
                if resume_from:
                    run.set_aside_after(checkpoints[-1])
                return _run_epochs(trainer, loader, stop, report, run.save)


def _check_split(prepared: PreparedStore) -> None:
    if not prepared.validation.any():
        raise BadInput(f"{prepared.root}: holds no validation images", "prepare it with --holdout 0.15")
    if prepared.validation.all():
        raise BadInput(f"{prepared.root}: holds no training images", "prepare it with a smaller --holdout")


def _restore(trainer: Trainer, checkpoints: Sequence[Path]) -> None:
    """Restore the last of a run's checkpoints. Where that fails, BadInput names the newest one that can be restored."""
    try:
        trainer.restore(RunFolder.load(checkpoints[-1]), checkpoints[-1])
    except BadInput as error:
        whole = next((path for path in reversed(checkpoints[:-1]) if _can_restore(trainer, path)), None)
        if whole:
            raise BadInput(error.what, f"{whole} is whole: continue from it with --resume-from {whole}") from None
        if isinstance(error, DamagedCheckpoint):
            raise BadInput(error.what, NOTHING_WHOLE) from None
        raise


def _can_restore(trainer: Trainer, checkpoint: Path) -> bool:
    try:
        trainer.restore(RunFolder.load(checkpoint), checkpoint)
    except BadInput:
        return False
    return True


def _run_epochs(
    trainer: Trainer, loader: Loader, stop: Stop, report: ReportProgress, save: Callable[[Checkpoint], None]
) -> list[EpochRecord]:
    recipe = trainer.recipe
    if recipe.compile and not trainer.world.rank:
        log.info("compiling the net: the first batches and the first validation take a while")
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
        if not trainer.world.rank:
            log.info("%s", _describe_epoch(record, recipe.epochs))
        _warn_if_flat(trainer)
        save(trainer.make_checkpoint())
        if trainer.world.any(stop.requested):
            raise Stopped(f"stopped after epoch {len(trainer.history)}", number=stop.number)
    return trainer.history


def _describe_epoch(record: EpochRecord, epochs: int) -> str:
    errors = f"top-1 error {record.center_top1_error:.2%}, top-5 {record.center_top5_error:.2%}"
    return (
        f"epoch {record.epoch} of {epochs}: loss {record.train_loss:.3f}, {errors}, {record.images_per_s:.0f} images/s"
    )


def _check_changes(trainer: Trainer) -> None:
    """Warn of the keys that a resume changes. Raises BadInput where the schedule would raise the rate."""
    changed = trainer.sessions[-1]["changed"]
    if changed:
        check_schedule(trainer.recipe, trainer.history)
    if not trainer.world.rank:
        for key, (old, new) in changed.items():
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
            "epoch %d: the loss %.2f is still that of guessing (ln %d = %.2f). %s, and see that images and labels "
            "belong together",
            *(epochs, loss, classes, guessing, _advise_on_flat(trainer.recipe)),
        )


def _advise_on_flat(recipe: Recipe) -> str:
    """The advice on what to try, without what the recipe does already."""
    deep = [layer for layer in layer_table(recipe.net) if layer.op == "conv" and layer.name not in ("conv1", "conv2")]
    narrow = [layer.name for layer in deep if layer.spec.init_std < WIDE]
    if not narrow:
        return "Try another optim.lr"
    advice = f"It may linger there for some epochs; else try another optim.lr, or init_std = {WIDE} on "
    return advice + ", ".join(narrow)
