"""Trains the last layer alone: logistic regression on the features of a net, written as the fc8 of a checkpoint."""

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from tencrop.common.errors import BadInput
from tencrop.common.lock import lock_folder
from tencrop.common.strict_config import dump
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint, hash_weights
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.layer_table import layer_table
from tencrop.model.metrics import ErrorCounts, top_k
from tencrop.model.run_checkpoints import list_checkpoints, name_checkpoint
from tencrop.model.run_progress import EpochRecord
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.training.start import check_squares

STRENGTHS = (1.0, 10.0, 100.0, 1e3, 1e4)  # scikit-learn's C, for features whose squares sum to 1 in the mean
BATCH = 64  # images of a forward pass
STEPS = 500  # of L-BFGS at most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """The inputs of fc8 for the center crops of some images, float32 [n,K], and their classes."""

    features: np.ndarray
    labels: np.ndarray  # int32 [n]


@dataclass(frozen=True)
class LinearLayer:
    """Weights [C,K] and biases [C] of a last layer, and the strength C that gave them."""

    weight: np.ndarray
    bias: np.ndarray
    strength: float

    def count_errors(self, examples: Examples) -> ErrorCounts:
        """Count the errors by the center crop."""
        return ErrorCounts.from_top_k(top_k(examples.features @ self.weight.T + self.bias), examples.labels)

    def mean_loss(self, examples: Examples) -> float:
        """The mean cross-entropy, in nats."""
        logits = (examples.features @ self.weight.T + self.bias).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        true = logits[np.arange(len(logits)), examples.labels]
        return float((np.log(np.exp(logits).sum(1)) - true).mean())


def train_linear(
    start: Path, prepared: PreparedStore, out: Path, progress: Callable[[int], object] = lambda done: None
) -> EpochRecord:
    """Write a checkpoint to the run folder `out`: the net of `start` with a last layer for the classes of `prepared`.

    The strength of the regularization is the one of STRENGTHS with the fewest errors on the validation images, then
    with the smaller loss. Mean image and colour statistics stay the start's. `progress` is called with the number of
    images done.

    Raises BadInput where `out` holds a run, `start` is no checkpoint of the images' size, or a class has no image.
    """
    began = time.perf_counter()
    _check_data(prepared)
    saved = Checkpoint.load(start)
    check_squares(saved, start, prepared)
    if list_checkpoints(out):
        raise BadInput(f"{out}: holds a run already", "choose another folder")
    with lock_folder(out):
        training, validation = _compute_inputs(saved, prepared, progress)
        layer = choose_layer(training, validation)
        seconds = time.perf_counter() - began
        counts = layer.count_errors(validation)
        record = EpochRecord(
            epoch=1,
            lr=0.0,
            train_loss=layer.mean_loss(training),
            train_error=layer.count_errors(training).top1_error,
            images_per_s=len(prepared.labels) / seconds,
            center_top1_error=counts.top1_error,
            center_top5_error=counts.top5_error,
            seconds=seconds,
        )
        checkpoint = _replace_last_layer(saved, layer, prepared, hash_weights(start), record)
        checkpoint.save(out / name_checkpoint(checkpoint.run_progress))
    return record


def _check_data(prepared: PreparedStore) -> None:
    """Check that both splits have images, and every class a training image. Raises BadInput."""
    if not prepared.validation.any():
        raise BadInput(f"{prepared.root}: holds no validation images", "prepare it with --holdout 0.15")
    labels = prepared.contract.labels
    empty = np.setdiff1d(np.arange(len(labels)), prepared.labels[~prepared.validation])
    if len(empty):
        raise BadInput(f"{prepared.root}: class {labels[empty[0]].id!r} has no training image", "give it some")
    if len(labels) < 2:
        raise BadInput(f"{prepared.root}: has one class only", "give it two at least")


@torch.inference_mode()
def _compute_inputs(
    saved: Checkpoint, prepared: PreparedStore, progress: Callable[[int], object]
) -> tuple[Examples, Examples]:
    """The inputs of the last layer, of the training and of the validation images, as the net at test gives them."""
    net = TenCropNet.from_checkpoint(saved)
    below = nn.Sequential(*list(net.net.children())[:-1])
    center, done, found = (net.contract.views[CENTER_VIEW],), 0, []
    for split in (~prepared.validation, prepared.validation):
        parts, labels = [], []
        for images, classes in prepared.iter_batches(np.flatnonzero(split), BATCH):
            crops: Tensor = net.cut_views(torch.from_numpy(images), center)[:, 0]
            parts.append(below(crops).flatten(1).numpy())
            labels.append(classes)
            progress(done := done + len(images))
        found.append(Examples(np.concatenate(parts), np.concatenate(labels)))
    return found[0], found[1]


def choose_layer(training: Examples, validation: Examples) -> LinearLayer:
    """Fit a layer for each of STRENGTHS, and choose by the validation images."""
    layers = fit_layers(training)
    for layer in layers:
        log.debug("C = %g: %.2f %% wrong", layer.strength, 100 * layer.count_errors(validation).top1_error)
    chosen = min(layers, key=lambda layer: (layer.count_errors(validation).top1_error, layer.mean_loss(validation)))
    log.info("C = %g has the fewest errors on the validation images", chosen.strength)
    return chosen


def fit_layers(training: Examples) -> list[LinearLayer]:
    """Fit a layer for each of STRENGTHS; each one begins where the one before ended.

    The features are divided by one number first, so that STRENGTHS suit every net; the weights take it back.
    """
    scale = float(np.sqrt((training.features.astype(np.float64) ** 2).sum(1).mean())) or 1.0
    regression = LogisticRegression(max_iter=STEPS, warm_start=True)
    layers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what STEPS leave out changes no choice
        for strength in STRENGTHS:
            regression.set_params(C=strength)
            regression.fit(training.features / np.float32(scale), training.labels)
            weight, bias = regression.coef_, regression.intercept_
            if len(weight) == 1:  # two classes: one logit, of the second one against the first
                weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
            layers.append(LinearLayer((weight / scale).astype(np.float32), bias.astype(np.float32), strength))
    return layers


def _replace_last_layer(
    saved: Checkpoint, layer: LinearLayer, prepared: PreparedStore, start: str, record: EpochRecord
) -> Checkpoint:
    last = layer_table(saved.net)[-1].name
    spec = replace(getattr(saved.net, last), units=len(layer.bias), rank=0, groups=1)
    recipe: dict[str, Any] = {
        **saved.recipe,
        "name": "linear",
        "about": f"logistic regression on the features of a net, C = {layer.strength:g}",
        "net": dump(replace(saved.net, **{last: spec})),
        "start": start,
        "expect": [],
    }
    weights = {name: value for name, value in saved.weights.items() if not name.startswith(f"{last}.")}
    return Checkpoint(
        recipe=recipe,
        contract=replace(saved.contract, labels=prepared.contract.labels, decode=prepared.contract.decode),
        statistics=saved.statistics,
        weights={**weights, f"{last}.weight": layer.weight, f"{last}.bias": layer.bias},
        progress={"history": [asdict(record)]},
    )
