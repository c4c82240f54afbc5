"""Trainer: the net, its update and its validation; everything that an epoch changes, and how to write it down."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.common.strict_config import parse
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint, hash_weights
from tencrop.model.layer_table import layer_table
from tencrop.model.lowrank import factorise_weights
from tencrop.model.metrics import ErrorCounts, top_k
from tencrop.model.net import AlexNet
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.training.augment import Normalize
from tencrop.training.loader import Batch, Loader
from tencrop.training.optim import Momentum
from tencrop.training.parallel import WholeNet, World
from tencrop.training.precision import choose_memory_format, resolve_precision
from tencrop.training.recipe import FREE_TO_CHANGE, Recipe, compare_recipes, to_plain
from tencrop.training.schedule import EpochSettings, compute_epoch_settings
from tencrop.training.session_record import describe_session
from tencrop.training.stop_signal import Stop
from tencrop.training.two_columns import TwoColumns

EVAL_BATCH = 64  # images
REPORT = 10  # steps between two looks at the loss: each waits for the device

Progress = Callable[[int, float, Mapping[str, float]], None]  # epoch, share of it done, what to show


class Objective(nn.Module):
    """Section 3.5's objective, multinomial logistic regression: a batch -> (mean loss, number of wrong top-1 guesses)."""

    def __init__(self, normalize: Normalize, net: nn.Module) -> None:
        super().__init__()
        self.normalize, self.net = normalize, net

    def forward(self, batch: Batch, noise: bool) -> tuple[Tensor, Tensor]:
        crops, corners, mirrored, z, labels = batch
        logits = self.net(self.normalize(crops, corners, mirrored, z, noise)).float()
        return F.cross_entropy(logits, labels), (logits.argmax(1) != labels).sum()


@dataclass
class EpochProgress:
    """The epoch that a run is in: how far it is, and its sums so far over whole batches."""

    steps: int = 0
    loss: float = 0.0
    wrong: float = 0.0
    seconds: float = 0.0


class Trainer:
    """A net in training: everything that an epoch changes, and how to write it down."""

    def __init__(self, recipe: Recipe, prepared: PreparedStore, world: World, columns: bool = False) -> None:
        classes = len(prepared.contract.labels)
        recipe = replace(recipe, net=replace(recipe.net, fc8=replace(recipe.net.fc8, units=classes)))
        if recipe.net.input != prepared.contract.crop:
            raise BadInput(
                f"recipe {recipe.name}: net.input is {recipe.net.input}, and crops have {prepared.contract.crop} pixels a side"
            )
        last = [*layer_table(recipe.net)][-1]
        if last.out_shape != (classes,):
            raise BadInput(
                f"recipe {recipe.name}: net.layers ends with {last.name} of {last.out_shape}, not with {classes} classes"
            )
        self.prepared, self.world, self.device = prepared, world, world.device
        self.precision = resolve_precision(recipe.precision, world.device, columns)
        torch.backends.cudnn.allow_tf32 = self.precision != "fp32"  # else torch convolves fp32 in TF32
        torch.backends.cudnn.benchmark = True  # shapes are fixed
        self.layout = TwoColumns(recipe.net, world) if columns else WholeNet(recipe.net, world)
        self.net = self.layout.build()
        self._set(_begin(recipe, prepared))
        self.recipe = (
            replace(recipe, start=hash_weights(Path(recipe.start))) if recipe.start else recipe
        )  # no path in a checkpoint
        self.net = self.net.to(self.device).to(memory_format=choose_memory_format(self.precision, self.device))
        self.optim = Momentum(self.net, recipe.optim)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        size = prepared.contract.crop
        statistics = prepared.statistics
        self.objective = Objective(Normalize(recipe.augment, statistics, recipe.mean, size), self.net).to(self.device)
        self.views = TenCropNet(self.net, prepared.contract, statistics.mean_to_subtract(recipe.mean, size)).to(
            self.device
        )
        self.history: list[dict[str, Any]] = []
        self.part = EpochProgress()
        self.sessions = [describe_session(self.device, self.precision)]
        if recipe.compile:
            self.objective.compile()
        self.averaged = self.layout.averaged(self.objective)
        self.center = torch.compile(self.views.center, disable=not recipe.compile)

    @property
    def number(self) -> int:
        """Of the epoch that is being trained, from 1."""
        return len(self.history) + 1

    def epoch(self, loader: Loader, now: EpochSettings, stop: Stop, progress: Progress) -> dict[str, float]:
        """The rest of a pass over the training images -> its mean loss, top-1 error and speed.

        Raises WorkFailed where the loss is no number, and Stopped where `stop` was requested; `part` says how far it came.
        """
        self.net.train()
        before, started, shares = self.part, time.perf_counter(), self.layout.share[1]
        sums = torch.tensor([before.loss, before.wrong / shares], dtype=torch.float64, device=self.device)
        for step, batch in enumerate(loader.epoch(self.number, before.steps), before.steps + 1):
            sums += self._step(batch, now, step)
            halt = self.world.any(stop.requested)
            if step % REPORT == 0 or step == len(loader) or halt:
                seconds = before.seconds + time.perf_counter() - started
                loss, wrong = self.world.mean(sums)
                self.part = EpochProgress(step, loss, wrong * shares, seconds)
                self._check_loss()
                speed = step * loader.order.batch / seconds
                progress(self.number, step / len(loader), {"loss": loss / step, "images_per_s": speed})
            if halt and step < len(loader):
                raise Stopped(f"stopped in epoch {self.number} after {step} of {len(loader)} batches")
        images = len(loader) * loader.order.batch
        return {
            "train_loss": self.part.loss / len(loader),
            "train_error": self.part.wrong / images,
            "images_per_s": speed,
        }

    def _step(self, batch: Batch, now: EpochSettings, step: int) -> Tensor:
        """One update; the batch's mean loss and number of wrong guesses, [2]."""
        batch = Batch(*(part.to(self.device, non_blocking=True) for part in batch))
        torch.manual_seed(dropout_seed(self.recipe.seed, self.number, step, self.world.rank))
        with self._autocast():
            loss, wrong = self.averaged(batch, now.noise)
        self.net.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optim, now)
        self.scaler.update()
        return torch.stack([loss.detach(), wrong]).double()

    def _check_loss(self) -> None:
        if not math.isfinite(self.part.loss):
            raise WorkFailed(
                f"epoch {self.number}: the loss is {self.part.loss} after {self.part.steps} batches; "
                f"lower optim.lr (it is {self.recipe.optim.lr}) and start again"
            )

    def _autocast(self) -> torch.autocast:
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.precision != "fp32")

    @torch.no_grad()
    def validate(self) -> ErrorCounts:
        """Counts over the validation images, by the center crop."""
        self.net.eval()
        counts = ErrorCounts()
        index, shares = self.layout.share
        for images, labels in self.prepared.batches(
            np.flatnonzero(self.prepared.validation)[index::shares], EVAL_BATCH
        ):
            padded = np.zeros((EVAL_BATCH, *images.shape[1:]), np.uint8)  # one shape, compiled once
            padded[: len(images)] = images
            with self._autocast():
                probabilities = self.center(torch.from_numpy(padded).to(self.device))[: len(images)]
            counts += ErrorCounts.from_top_k(top_k(probabilities.cpu().numpy()), labels)
        if shares == 1:
            return counts
        return ErrorCounts(*(int(n) for n in self.world.sum(torch.tensor(list(asdict(counts).values())))))

    def checkpoint(self) -> Checkpoint:
        """Everything that a later process needs to predict or to go on; every process must ask."""
        velocity = {f"velocity.{name}": v for name, v in self.layout.whole(self.optim.velocity).items()}
        progress: dict[str, Any] = {
            "history": self.history,
            "scaler": self.scaler.state_dict(),
            "sessions": self.sessions,
        }
        return Checkpoint(
            recipe=to_plain(self.recipe),
            contract=self.prepared.contract,
            statistics=self.prepared.statistics,
            weights=self.layout.whole(dict(self.net.named_parameters())),
            progress=progress | ({"part": asdict(self.part)} if self.part.steps else {}),
            training=velocity,
        )

    def restore(self, saved: Checkpoint) -> None:
        """Go on where a checkpoint stopped. Raises BadInput where it is of another recipe or data set, or made to predict alone."""
        same_data = saved.contract == self.prepared.contract and np.array_equal(
            saved.statistics.mean, self.prepared.statistics.mean
        )
        if not same_data or saved.net != self.recipe.net:
            raise BadInput("--resume: the run's checkpoint is of another net or data set; choose another --out")
        if saved.training.keys() != {f"velocity.{name}" for name in self.optim.velocity}:
            raise BadInput(
                "--resume: the run's checkpoint has no momentum to go on with; name it by --set start=CHECKPOINT in another --out"
            )
        changed = [
            *compare_recipes(
                to_plain(parse(Recipe, saved.recipe, "--resume: the checkpoint's recipe")), to_plain(self.recipe)
            )
        ]
        for key, was, now in changed:
            if key.split(".")[0] not in FREE_TO_CHANGE:
                raise BadInput(
                    f"--resume: the run was begun with {key} = {was}, now it is {now}; keep it, or choose another --out"
                )
        self._set(saved.weights)
        with torch.no_grad():
            for name, velocity in self.optim.velocity.items():
                velocity.copy_(torch.from_numpy(self.layout.own(name, saved.training[f"velocity.{name}"])))
        self.scaler.load_state_dict(saved.progress["scaler"])
        self.history = list(saved.progress["history"])
        self.part = EpochProgress(**saved.progress.get("part", {}))
        resumed = {"after_epoch": len(self.history), "changed": {key: [was, now] for key, was, now in changed}}
        self.sessions = [*saved.progress.get("sessions", ()), self.sessions[0] | resumed]
        now, before = (
            compute_epoch_settings(self.recipe, self.history),
            self.history[-1]["lr"] if self.history else math.inf,
        )
        if changed and now and (rate := self.recipe.optim.lr * now.scale) > before:
            raise BadInput(
                f"--resume: epoch {self.number} would have a rate of {rate:g}, the one before it had {before:g}: another number of epochs "
                "moves every drop of the schedule; say the epochs that the run was begun with, or events=[...] too"
            )

    @torch.no_grad()
    def _set(self, weights: Mapping[str, np.ndarray]) -> None:
        for name, parameter in self.net.named_parameters():
            parameter.copy_(torch.from_numpy(self.layout.own(name, weights[name])))


def dropout_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """What the dropout masks of a step are drawn from, so that resuming needs no random state."""
    return int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1, np.uint64)[0])


def _begin(recipe: Recipe, prepared: PreparedStore) -> Mapping[str, np.ndarray]:
    """The whole net's first weights: drawn, or those of the net to fine-tune. Raises BadInput where that is of another net or data set."""
    net = recipe.net
    if recipe.start:
        start = Checkpoint.load(Path(recipe.start))
        if start.contract != prepared.contract:
            raise BadInput(f"{recipe.start}: trained on other classes than {prepared.root} has")
        try:
            return AlexNet.from_weights(net, factorise_weights(start.weights, net)).weights()
        except RuntimeError:  # names or shapes that do not fit
            raise BadInput(f"{recipe.start}: not a checkpoint of the net that recipe {recipe.name} describes") from None
    if any(layer.rank for layer in (net.fc6, net.fc7, net.fc8)):
        raise BadInput(
            f"recipe {recipe.name}: low-rank layers are fine-tuned from a trained net: --set start=CHECKPOINT"
        )
    alexnet = AlexNet(net)
    alexnet.init(recipe.seed)
    return alexnet.weights()
