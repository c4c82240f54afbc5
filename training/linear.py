"""Trains the last layer alone: logistic regression on the features of a net, written as the fc8 of a checkpoint."""

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
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
FOLDS = 4  # parts of the training images, each held apart once to choose C
MANY = 5_000  # training images; all views of more of them take too long to fit, and too much memory
BATCH = 60  # crops of a forward pass
STEPS = 500  # of L-BFGS at most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """The inputs of fc8 for some crops, divided by Split.scale, float32 [n,K], and their classes."""

    features: np.ndarray
    labels: np.ndarray  # int32 [n]

    def select(self, chosen: np.ndarray) -> "Examples":
        """The examples where `chosen`, bool [n], is true."""
        return Examples(self.features[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Split:
    """The examples of a data set. Divided by `scale`, the squares of `center` sum to 1 in the mean."""

    views: Examples  # of the training images; all views of an image, or its center crop
    center: Examples
    validation: Examples  # center crops
    scale: np.float32


@dataclass(frozen=True)
class LinearLayer:
    """Weights [C,K] and biases [C] of a last layer."""

    weight: np.ndarray
    bias: np.ndarray

    def count_errors(self, examples: Examples) -> ErrorCounts:
        """Count the errors."""
        return ErrorCounts.from_top_k(top_k(examples.features @ self.weight.T + self.bias), examples.labels)

    def sum_loss(self, examples: Examples) -> float:
        """The sum of the cross-entropies, in nats."""
        logits = (examples.features @ self.weight.T + self.bias).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        true = logits[np.arange(len(logits)), examples.labels]
        return float((np.log(np.exp(logits).sum(1)) - true).sum())


def train_linear(
    start: Path, prepared: PreparedStore, out: Path, progress: Callable[[int], object] = lambda done: None
) -> EpochRecord:
    """Write a checkpoint to the run folder `out`: the net of `start` with a last layer for the classes of `prepared`.

    All views of the training images are examples, or beyond MANY images the center crops. The strength of the
    regularization is chosen by `choose_strength`; the validation images give the record's errors alone. Mean image and
    colour statistics stay the start's. `progress` is called with the number of images done.

    Raises BadInput where `out` holds a run, `start` is no checkpoint of the images' size, or a class has no image.
    """
    began = time.perf_counter()
    _check_data(prepared)
    saved = Checkpoint.load(start)
    check_squares(saved, start, prepared)
    if list_checkpoints(out):
        raise BadInput(f"{out}: holds a run already", "choose another folder")
    with lock_folder(out):
        split = _compute_split(saved, prepared, progress)
        strength = choose_strength(split.center)
        # An image counts once, however many views it has.
        (layer,) = fit_layers(split.views, [strength * len(split.center.labels) / len(split.views.labels)])
        seconds = time.perf_counter() - began
        counts = layer.count_errors(split.validation)
        record = EpochRecord(
            epoch=1,
            lr=0.0,
            train_loss=layer.sum_loss(split.center) / len(split.center.labels),
            train_error=layer.count_errors(split.center).top1_error,
            images_per_s=len(prepared.labels) / seconds,
            center_top1_error=counts.top1_error,
            center_top5_error=counts.top5_error,
            seconds=seconds,
        )
        layer = replace(layer, weight=layer.weight / split.scale)
        checkpoint = _replace_last_layer(saved, layer, strength, prepared, hash_weights(start), record)
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


def _compute_split(saved: Checkpoint, prepared: PreparedStore, progress: Callable[[int], object]) -> Split:
    held = prepared.validation
    images = int((~held).sum())
    views = tuple(range(len(saved.contract.views))) if images <= MANY else (CENTER_VIEW,)
    features, labels = _compute_inputs(saved, prepared, ~held, views, progress)
    tested, truth = _compute_inputs(saved, prepared, held, (CENTER_VIEW,), lambda done: progress(images + done))
    center = views.index(CENTER_VIEW)
    scale = np.float32(np.sqrt((features[:, center].astype(np.float64) ** 2).sum(1).mean()) or 1.0)
    features /= scale
    return Split(
        views=Examples(features.reshape(-1, features.shape[-1]), labels.repeat(len(views))),
        center=Examples(features[:, center], labels),
        validation=Examples(tested[:, 0] / scale, truth),
        scale=scale,
    )


@torch.inference_mode()
def _compute_inputs(
    saved: Checkpoint,
    prepared: PreparedStore,
    chosen: np.ndarray,
    views: Sequence[int],
    progress: Callable[[int], object],
) -> tuple[np.ndarray, np.ndarray]:
    """Compute what the last layer gets at test from some views of the images -> float32 [n,V,K], classes int32 [n]."""
    net = TenCropNet.from_checkpoint(saved)
    below = nn.Sequential(*list(net.net.children())[:-1])
    cut = tuple(net.contract.views[view] for view in views)
    indices, done = np.flatnonzero(chosen), 0
    features = np.empty((len(indices), len(cut), prod(layer_table(saved.net)[-1].in_shape)), np.float32)
    for images, _ in prepared.iter_batches(indices, BATCH // len(cut)):
        crops: Tensor = net.cut_views(torch.from_numpy(images), cut)
        inputs = below(crops.flatten(0, 1)).flatten(1)
        features[done : done + len(images)] = inputs.unflatten(0, crops.shape[:2])
        progress(done := done + len(images))
    return features, prepared.labels[indices]


def choose_strength(examples: Examples) -> float:
    """The one of STRENGTHS with the fewest errors by cross-validation, then with the smaller loss."""
    folds = split_folds(examples.labels)
    wrong, loss = np.zeros(len(STRENGTHS)), np.zeros(len(STRENGTHS))
    for fold in range(FOLDS):
        held = folds == fold
        if held.any():
            apart = examples.select(held)
            layers = fit_layers(examples.select(~held), STRENGTHS)
            wrong += (mistakes := [layer.count_errors(apart).top1_wrong for layer in layers])
            loss += [layer.sum_loss(apart) for layer in layers]
            found = f"{min(mistakes)} to {max(mistakes)} of {held.sum()} images wrong"
            log.info("cross-validation, part %d of %d: %s", fold + 1, FOLDS, found)
    chosen = min(range(len(STRENGTHS)), key=lambda index: (wrong[index], loss[index]))
    log.info("C = %g has the fewest errors in cross-validation: %d", STRENGTHS[chosen], wrong[chosen])
    return STRENGTHS[chosen]


def split_folds(labels: np.ndarray) -> np.ndarray:
    """Split each class into FOLDS parts of neighbours, since the photographs of a series are -> int [n].

    A class's only image is in none of them (-1): without it a fit would lack the class.
    """
    counts = np.bincount(labels)[labels]
    order = np.argsort(labels, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return np.where(counts > 1, place * FOLDS // counts, -1)


def fit_layers(examples: Examples, strengths: Sequence[float]) -> list[LinearLayer]:
    """Fit a layer for each strength C; each one begins where the one before ended."""
    regression = LogisticRegression(max_iter=STEPS, warm_start=True)
    layers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what STEPS leave out changes no choice
        for strength in strengths:
            regression.set_params(C=strength)
            regression.fit(examples.features, examples.labels)
            weight, bias = regression.coef_, regression.intercept_
            if len(weight) == 1:  # two classes: one logit, of the second one against the first
                weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
            layers.append(LinearLayer(weight.astype(np.float32), bias.astype(np.float32)))
    return layers


def _replace_last_layer(
    saved: Checkpoint, layer: LinearLayer, strength: float, prepared: PreparedStore, start: str, record: EpochRecord
) -> Checkpoint:
    last = layer_table(saved.net)[-1].name
    spec = replace(getattr(saved.net, last), units=len(layer.bias), rank=0, groups=1)
    recipe: dict[str, Any] = {
        **saved.recipe,
        "name": "linear",
        "about": f"logistic regression on the features of a net, C = {strength:g}",
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
