"""The training loop: epochs of the paper's regimen, each ended by validation and a checkpoint."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataset.prepared import Prepared
from model.checkpoint import Checkpoint, weights_sha256
from model.errors import BadInput, WorkFailed
from model.lowrank import factorised
from model.metrics import Counts, top_k
from model.net import AlexNet
from model.views import TenCropNet
from training.augment import Normalize
from training.loader import Batch, Loader
from training.memory import keep_freed_memory
from training.optim import Momentum
from training.recipe import Recipe, to_plain
from training.record import Run
from training.schedule import Phase, phase

EVAL_BATCH = 64  # images

Progress = Callable[[int, float, Mapping[str, float]], None]  # epoch, share of it done, what to show


class Objective(nn.Module):
    """Section 3.5's objective, multinomial logistic regression: a batch -> (mean loss, number of wrong top-1 guesses)."""

    def __init__(self, normalize: Normalize, net: AlexNet) -> None:
        super().__init__()
        self.normalize, self.net = normalize, net

    def forward(self, batch: Batch, noise: bool) -> tuple[Tensor, Tensor]:
        crops, corners, mirrored, z, labels = batch
        logits = self.net(self.normalize(crops, corners, mirrored, z, noise)).float()
        return F.cross_entropy(logits, labels), (logits.argmax(1) != labels).sum()


class Training:
    """A net in training: everything that an epoch changes, and how to write it down."""

    def __init__(self, recipe: Recipe, prepared: Prepared, device: torch.device) -> None:
        classes = len(prepared.contract.labels)
        recipe = replace(recipe, net=replace(recipe.net, fc8=replace(recipe.net.fc8, units=classes)))
        self.prepared, self.device = prepared, device
        net = _begin(recipe, prepared)
        self.recipe = replace(recipe, start=weights_sha256(Path(recipe.start))) if recipe.start else recipe  # no path in a checkpoint
        self.net = net.to(device).to(memory_format=torch.channels_last)
        self.optim = Momentum(self.net, recipe.optim)
        size = prepared.contract.crop
        statistics = prepared.statistics
        self.objective = Objective(Normalize(recipe.augment, statistics, recipe.mean, size), self.net).to(device)
        self.views = TenCropNet(self.net, prepared.contract, statistics.subtracted(recipe.mean, size)).to(device)
        self.history: list[dict[str, Any]] = []
        self.compiled = torch.compile(self.objective, disable=not recipe.compile)
        self.center = torch.compile(self.views.center, disable=not recipe.compile)

    def epoch(self, loader: Loader, now: Phase, progress: Progress) -> dict[str, float]:
        """One pass over the training images -> its mean loss, top-1 error and speed. Raises WorkFailed where the loss is no number."""
        self.net.train()
        number, started = len(self.history) + 1, time.perf_counter()
        loss_sum, wrong_sum = torch.zeros(2, dtype=torch.float64, device=self.device)
        images = 0
        for done, batch in enumerate(loader.epoch(number), 1):
            loss, wrong = self._step(batch, now)
            loss_sum += loss
            wrong_sum += wrong
            images += len(batch.labels)
            seconds = time.perf_counter() - started
            progress(number, done / len(loader), {"loss": float(loss_sum) / done, "images_per_s": images / seconds})
        mean_loss = float(loss_sum) / len(loader)
        if not np.isfinite(mean_loss):
            raise WorkFailed(f"epoch {number}: the loss is {mean_loss}; lower optim.lr (it is {self.recipe.optim.lr}) and start again")
        return {"train_loss": mean_loss, "train_error": float(wrong_sum) / images, "images_per_s": images / seconds}

    def _step(self, batch: Batch, now: Phase) -> tuple[Tensor, Tensor]:
        batch = Batch(*(part.to(self.device, non_blocking=True) for part in batch))
        with self._autocast():
            loss, wrong = self.compiled(batch, now.noise)
        self.net.zero_grad()
        loss.backward()
        self.optim.step(now)
        return loss.detach(), wrong

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    @torch.no_grad()
    def validate(self) -> Counts:
        """Counts over the validation images, by the center crop."""
        self.net.eval()
        counts = Counts()
        for images, labels in self.prepared.batches(np.flatnonzero(self.prepared.validation), EVAL_BATCH):
            padded = np.zeros((EVAL_BATCH, *images.shape[1:]), np.uint8)  # one shape, compiled once
            padded[: len(images)] = images
            with self._autocast():
                probabilities = self.center(torch.from_numpy(padded).to(self.device))[: len(images)]
            counts += Counts.of(top_k(probabilities.cpu().numpy()), labels)
        return counts

    def checkpoint(self) -> Checkpoint:
        """Everything that a later process needs to predict or to go on."""
        velocity = {f"velocity.{name}": v.cpu().numpy() for name, v in self.optim.velocity.items()}
        return Checkpoint(
            recipe=to_plain(self.recipe),
            contract=self.prepared.contract,
            statistics=self.prepared.statistics,
            weights=self.net.weights(),
            progress={"history": self.history},
            training=velocity | {"random": self._random_state().numpy()},
        )

    def restore(self, saved: Checkpoint) -> None:
        """Go on where a checkpoint stopped. Raises BadInput where it is of another recipe or data set."""
        if saved.contract != self.prepared.contract or saved.net != self.net.config:
            raise BadInput("--resume: the run's checkpoint is of another net or data set; choose another --out")
        with torch.no_grad():
            for name, parameter in self.net.named_parameters():
                parameter.copy_(torch.from_numpy(saved.weights[name]))
                self.optim.velocity[name].copy_(torch.from_numpy(saved.training[f"velocity.{name}"]))
        random = torch.from_numpy(saved.training["random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(random, self.device)
        else:
            torch.set_rng_state(random)
        self.history = list(saved.progress["history"])

    def _random_state(self) -> Tensor:
        """Of the generator that the dropout masks are drawn from: the device's own."""
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.get_rng_state()


def train(recipe: Recipe, prepared: Prepared, out: Path, resume: bool, workers: int, progress: Progress) -> list[dict[str, Any]]:
    """Train to the end of the recipe's schedule; returns the history, one row an epoch. Raises BadInput, WorkFailed."""
    if not prepared.validation.any():
        raise BadInput(f"{prepared.root}: holds no validation images; prepare it with --holdout 0.15")
    if prepared.validation.all():
        raise BadInput(f"{prepared.root}: holds no training images; prepare it with a smaller --holdout")
    keep_freed_memory()
    torch.manual_seed(recipe.seed)
    training = Training(recipe, prepared, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    saved = Run.checkpoints(out)
    if saved and resume:
        training.restore(Checkpoint.load(saved[-1]))
    run = Run(out, recipe, resume)  # writes, so only after every refusal
    loader = Loader(prepared, recipe, workers)
    while now := phase(recipe, training.history):
        started = time.perf_counter()
        row: dict[str, Any] = {"epoch": len(training.history) + 1, "lr": recipe.optim.lr * now.scale}
        row |= training.epoch(loader, now, progress)
        counts = training.validate()
        row |= {"center_top1_error": counts.top1_error, "center_top5_error": counts.top5_error}
        training.history.append(row | {"seconds": time.perf_counter() - started})
        run.epoch(training.history, training.checkpoint())
    return training.history


def _begin(recipe: Recipe, prepared: Prepared) -> AlexNet:
    """A fresh net, or the one to fine-tune. Raises BadInput where that is of another net or data set."""
    net = recipe.net
    if recipe.start:
        start = Checkpoint.load(Path(recipe.start))
        if start.contract != prepared.contract:
            raise BadInput(f"{recipe.start}: trained on other classes than {prepared.root} has")
        try:
            return AlexNet.of(net, factorised(start.weights, net))
        except RuntimeError:  # names or shapes that do not fit
            raise BadInput(f"{recipe.start}: not a checkpoint of the net that recipe {recipe.name} describes") from None
    if any(layer.rank for layer in (net.fc6, net.fc7, net.fc8)):
        raise BadInput(f"recipe {recipe.name}: low-rank layers are fine-tuned from a trained net: --set start=CHECKPOINT")
    alexnet = AlexNet(net)
    alexnet.init(recipe.seed)
    return alexnet
