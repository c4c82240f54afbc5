"""Trainer: the state that an epoch changes (net, velocities, history); trains, validates and makes checkpoints."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint, find_not_finite, hash_weights
from tencrop.model.layer_table import layer_table
from tencrop.model.metrics import ErrorCounts, top_k
from tencrop.model.run_progress import EPOCH_START, EpochProgress, EpochRecord
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.training.augment import Normalize
from tencrop.training.initial_weights import choose_statistics, draw_weights, load_start, take_weights
from tencrop.training.loader import Batch, Loader
from tencrop.training.objective import Objective
from tencrop.training.optim import Momentum
from tencrop.training.parallel import WholeNet, World
from tencrop.training.precision import choose_memory_format, resolve_precision
from tencrop.training.recipe import Recipe, to_plain
from tencrop.training.resume_check import check_resumable
from tencrop.training.schedule import EpochSettings
from tencrop.training.session_record import describe_session
from tencrop.training.stop_signal import Stop
from tencrop.training.two_columns import TwoColumns
from tencrop.training.upload import upload

EVAL_BATCH = 64  # images
REPORT = 10  # steps between two readings of the loss; each waits for the device and for the other processes
PROMPT = 5.0  # seconds between two readings at most, where a step is shorter: a stop of another process is read so late

ReportProgress = Callable[[int, float, Mapping[str, float]], None]  # epoch, share of it that is done, loss and speed


@dataclass(frozen=True)
class TrainingPass:
    """Result of one pass over the training images: mean loss, top-1 error and speed."""

    loss: float
    error: float
    images_per_s: float


class Trainer:
    """A net in training: its weights, velocities, loss scale and history.

    The last layer gets as many units as the data set has classes. Raises BadInput where recipe, data set and device
    do not fit.
    """

    def __init__(self, recipe: Recipe, prepared: PreparedStore, world: World, columns: bool = False) -> None:
        recipe = _fit_to_classes(recipe, prepared)
        start = load_start(recipe, prepared)
        prepared = replace(prepared, statistics=choose_statistics(recipe, start, prepared))
        self.prepared, self.world, self.device = prepared, world, world.device
        self.precision = resolve_precision(recipe.precision, world.device, columns)
        torch.backends.cudnn.allow_tf32 = self.precision != "fp32"  # else torch convolves fp32 in TF32
        torch.backends.cudnn.benchmark = True  # shapes are fixed
        self.partition = TwoColumns(recipe.net, world) if columns else WholeNet(recipe.net, world)
        self.net = self.partition.build()
        self.initial = take_weights(recipe, start, prepared) if start else draw_weights(recipe)
        self._set_weights(self.initial.weights)
        # A checkpoint names its start by hash: a path means nothing elsewhere.
        self.recipe = replace(recipe, start=hash_weights(Path(recipe.start))) if recipe.start else recipe
        self.net = self.net.to(self.device).to(memory_format=choose_memory_format(self.precision, self.device))
        self.optim = Momentum(self.net, recipe.optim)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        contract, statistics = prepared.contract, prepared.statistics
        normalize = Normalize(recipe.augment, statistics, recipe.mean, contract.crop)
        self.objective = Objective(normalize, self.net).to(self.device)
        mean = statistics.mean_to_subtract(recipe.mean, contract.crop)
        self.ten_crop = TenCropNet(self.net, contract, mean).to(self.device)
        self.history: list[EpochRecord] = []
        self.progress = EPOCH_START
        self.sessions = [describe_session(self.device, self.precision)]
        if start:
            self.sessions[0]["start"] = {"taken": list(self.initial.taken), "drawn": dict(self.initial.drawn)}
        self.frozen: frozenset[str] = frozenset()  # layers without gradients
        if recipe.compile:
            self.objective.compile()
        self.averaged = self.partition.average_gradients(self.objective)
        self.center = torch.compile(self.ten_crop.predict_center, disable=not recipe.compile)

    @property
    def epoch_number(self) -> int:
        """Number of the current epoch, from 1."""
        return len(self.history) + 1

    def train_epoch(self, loader: Loader, settings: EpochSettings, stop: Stop, report: ReportProgress) -> TrainingPass:
        """Train on the rest of the epoch's batches; returns the means over all batches of the epoch.

        Raises WorkFailed where the loss is not finite, and Stopped where `stop` was requested; `self.progress` then
        holds the position to resume at.
        """
        self.net.train()
        self._freeze(settings.frozen)
        before, started, shares = self.progress, time.perf_counter(), self.partition.share[1]
        sums = torch.tensor([before.loss, before.wrong / shares], dtype=torch.float64, device=self.device)
        batches = upload(loader.iter_epoch(self.epoch_number, before.steps), self.device)
        reading = before.steps + 1  # the step after which the processes read their sums: the same step in all of them
        for step, batch in enumerate(batches, before.steps + 1):
            sums += self._step(batch, settings, step)
            halt_alone = stop.requested and self.world.size == 1
            if step < min(reading, len(loader)) and not halt_alone:
                continue
            seconds = before.seconds + time.perf_counter() - started
            loss, wrong, halt, seconds = self.world.mean(torch.cat([sums, sums.new_tensor([stop.requested, seconds])]))
            if not math.isfinite(loss):
                raise self._diverged(f"epoch {self.epoch_number}: the loss is {loss} after {step} batches")
            self.progress = EpochProgress(step, loss, wrong * shares, seconds)
            speed = step * loader.order.batch / seconds
            report(self.epoch_number, step / len(loader), {"loss": loss / step, "images_per_s": speed})
            reading = step + max(1, min(REPORT, int(PROMPT * step / seconds)))
            if halt and step < len(loader):
                where = f"in epoch {self.epoch_number} after {step} of {len(loader)} batches"
                raise Stopped(f"stopped {where}", number=stop.number)
        images = len(loader) * loader.order.batch
        return TrainingPass(self.progress.loss / len(loader), self.progress.wrong / images, speed)

    def end_epoch(self, record: EpochRecord) -> None:
        """Append the epoch's record to the history. The next epoch begins."""
        self.history.append(record)
        self.progress = EPOCH_START

    def _freeze(self, layers: frozenset[str]) -> None:
        """Compute gradients for all layers but these. Below the first other layer there is no backward pass."""
        if layers == self.frozen:
            return
        self.frozen = layers
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name.partition(".")[0] not in layers)
        self.averaged = self.partition.average_gradients(self.objective)  # it averages the gradients that there are

    def _step(self, batch: Batch, settings: EpochSettings, step: int) -> Tensor:
        """Update the net once; returns the batch's mean loss and number of wrong guesses, float64 [2]."""
        torch.manual_seed(dropout_seed(self.recipe.seed, self.epoch_number, step, self.world.rank))
        with self._autocast():
            loss, wrong = self.averaged(batch, settings.noise)
        self.net.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optim, settings)
        self.scaler.update()
        return torch.stack([loss.detach(), wrong]).double()

    def _diverged(self, what: str) -> WorkFailed:
        return WorkFailed(what, f"lower optim.lr (it is {self.recipe.optim.lr}) and start again")

    def _autocast(self) -> torch.autocast:
        """Context in which torch computes in this training's precision."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.precision != "fp32")

    @torch.no_grad()
    def validate(self) -> ErrorCounts:
        """Error counts of the center crop over all validation images, those of the other processes included."""
        self.net.eval()
        counts = ErrorCounts()
        index, shares = self.partition.share
        own = np.flatnonzero(self.prepared.validation)[index::shares]
        for images, labels in self.prepared.iter_batches(own, EVAL_BATCH):
            padded = np.zeros((EVAL_BATCH, *images.shape[1:]), np.uint8)  # one shape, so torch compiles once
            padded[: len(images)] = images
            with self._autocast():
                probabilities = self.center(torch.from_numpy(padded).to(self.device))[: len(images)]
            counts += ErrorCounts.from_top_k(top_k(probabilities.cpu().numpy()), labels)
        if shares == 1:
            return counts
        return ErrorCounts(*(int(n) for n in self.world.sum(torch.tensor(list(asdict(counts).values())))))

    def make_checkpoint(self) -> Checkpoint:
        """Copy all that a later process needs to predict or to resume. Every process must call it at the same step.

        Raises WorkFailed where a weight or a velocity is not finite.
        """
        weights = self.partition.gather(dict(self.net.named_parameters()))
        velocity = {f"velocity.{name}": v for name, v in self.partition.gather(self.optim.velocity).items()}
        if odd := next(find_not_finite({**weights, **velocity}), None):
            raise self._diverged(f"{odd} is not finite after {len(self.history)} epochs, {self.progress.steps} batches")
        progress: dict[str, Any] = {
            "history": [asdict(record) for record in self.history],
            "scaler": self.scaler.state_dict(),
            "sessions": self.sessions,
        }
        return Checkpoint(
            recipe=to_plain(self.recipe),
            contract=self.prepared.contract,
            statistics=self.prepared.statistics,
            weights=weights,
            progress=progress | ({"part": asdict(self.progress)} if self.progress.steps else {}),
            training=velocity,
        )

    def restore(self, saved: Checkpoint, source: Path) -> None:
        """Take over the state of a checkpoint, which `source` names in messages.

        Raises DamagedCheckpoint where a part of it is missing or wrong, BadInput where it belongs to another run.
        """
        changes = check_resumable(saved, source, self.recipe, self.prepared, self.precision)
        progress = saved.run_progress
        self._set_weights(saved.weights)
        with torch.no_grad():
            for name, velocity in self.optim.velocity.items():
                velocity.copy_(torch.from_numpy(self.partition.shard(name, saved.training[f"velocity.{name}"])))
        self.scaler.load_state_dict(progress.scaler)
        self.history, self.progress = [*progress.history], progress.part
        session = {key: value for key, value in self.sessions[0].items() if key != "start"}  # its weights are replaced
        resumed = {"after_epoch": len(progress.history), "changed": {key: [old, new] for key, old, new in changes}}
        self.sessions = [*progress.sessions, session | resumed]

    @torch.no_grad()
    def _set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        for name, parameter in self.net.named_parameters():
            parameter.copy_(torch.from_numpy(self.partition.shard(name, weights[name])))


def dropout_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """Seed of a step's dropout masks. It depends on these arguments alone, so resuming needs no saved random state."""
    return int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1, np.uint64)[0])


def _fit_to_classes(recipe: Recipe, prepared: PreparedStore) -> Recipe:
    """Give the last layer a unit per class. Raises BadInput where the net's input or output has another shape."""
    classes, crop, side = len(prepared.contract.labels), prepared.contract.crop, prepared.contract.resize
    recipe = replace(recipe, net=replace(recipe.net, fc8=replace(recipe.net.fc8, units=classes)))
    if recipe.net.input != crop:
        raise BadInput(f"recipe {recipe.name}: net.input is {recipe.net.input}, and images have {side} pixels a side")
    last = [*layer_table(recipe.net)][-1]
    if last.out_shape != (classes,):
        raise BadInput(
            f"recipe {recipe.name}: net.layers ends with {last.name} of {last.out_shape}, not with {classes} classes"
        )
    return recipe
