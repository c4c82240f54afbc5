"""Trains the last layer alone: logistic regression on the features of a net, written as the fc8 of a checkpoint."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tencrop.common.errors import BadInput
from tencrop.common.lock import lock_folder
from tencrop.common.strict_config import dump
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint, hash_weights
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.layer_table import layer_table
from tencrop.model.run_checkpoints import list_checkpoints, name_checkpoint
from tencrop.model.run_progress import EpochRecord
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.training.logistic_regression import Examples, LinearLayer, choose_strength, fit_layers
from tencrop.training.start import check_squares

MANY = 5_000  # training images; all views of more of them take too long to fit, and too much memory
BATCH = 60  # crops of a forward pass


@dataclass(frozen=True)
class Split:
    """What fc8 gets from the crops of a data set, divided by `scale`: the squares of `center` sum to 1 in the mean."""

    views: Examples  # of the training images; all views of an image, or its center crop
    center: Examples
    validation: Examples  # center crops
    scale: np.float32


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
    net, units = TenCropNet.from_checkpoint(saved), prod(layer_table(saved.net)[-1].in_shape)
    trained, held = np.flatnonzero(~prepared.validation), np.flatnonzero(prepared.validation)
    views = tuple(range(len(saved.contract.views))) if len(trained) <= MANY else (CENTER_VIEW,)
    features = np.empty((len(trained), len(views), units), np.float32)
    tested = np.empty((len(held), 1, units), np.float32)
    _fill_inputs(net, prepared, trained, views, features, progress)
    _fill_inputs(net, prepared, held, (CENTER_VIEW,), tested, lambda done: progress(len(trained) + done))
    center, labels = views.index(CENTER_VIEW), prepared.labels[trained]
    scale = np.float32(np.sqrt((features[:, center].astype(np.float64) ** 2).sum(1).mean()) or 1.0)
    features /= scale
    return Split(
        views=Examples(features.reshape(-1, units), labels.repeat(len(views))),
        center=Examples(features[:, center], labels),
        validation=Examples(tested[:, 0] / scale, prepared.labels[held]),
        scale=scale,
    )


@torch.inference_mode()
def _fill_inputs(
    net: TenCropNet,
    prepared: PreparedStore,
    indices: np.ndarray,
    views: Sequence[int],
    features: np.ndarray,
    progress: Callable[[int], object],
) -> None:
    """Fill `features`, float32 [n,V,K], with what the last layer gets at test from these views of the images."""
    below = nn.Sequential(*list(net.net.children())[:-1])
    cut, done = tuple(net.contract.views[view] for view in views), 0
    for images, _ in prepared.iter_batches(indices, BATCH // len(cut)):
        crops: Tensor = net.cut_views(torch.from_numpy(images), cut)
        inputs = below(crops.flatten(0, 1)).flatten(1)
        features[done : done + len(images)] = inputs.unflatten(0, crops.shape[:2])
        progress(done := done + len(images))


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
