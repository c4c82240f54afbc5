"""Fits the embedded model's last layer anew with every class weighted alike; the layers below stay as they are.

python -m experiments.last_layer caltech101 [--holdout 0.15] [--precision fp32]

A training image counts with (share of its class)^-power. The fit begins at the net's own fc8, uses the features of all
ten views, and pays for every step away from it: `pull` times the squared distance. The last rows leave the layer as it
is but for its lengths: the weights of a class are divided by their length^power (Kang et al. 2019, arXiv 1910.09217).
Errors are over images and as a mean over classes, on the held-out images, with the mean of ten views.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import cross_entropy

from experiments.rare_classes import measure_errors
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source import Source
from tencrop.evaluation.chunks import forward_chunks
from tencrop.evaluation.plan import CHUNK, Plan
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions

POWERS = (0.0, 0.5, 1.0)
PULLS = (1e-2, 1e-3, 1e-4)
LENGTH_POWERS = (0.25, 0.5, 0.75, 1.0)
STEPS = 100  # of L-BFGS at most


@dataclass(frozen=True)
class Views:
    """The inputs of fc8 for all views of some images, float32 [n,10,K], and their classes, int64 [n]."""

    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Layer:
    """Weights [C,K] and biases [C]."""

    weight: Tensor
    bias: Tensor

    def answer(self, features: Tensor) -> np.ndarray:
        """The mean over the views of the softmaxes: [n,10,K] -> [n,C]."""
        return (features @ self.weight.T + self.bias).softmax(-1).mean(1).numpy()


def main() -> None:
    """Read the command line and print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the data set that the embedded model was trained on a part of")
    parser.add_argument("--holdout", type=float, default=0.15, help="share of each class that it was not trained on")
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    source = open_source(options.data, training=True)
    held = choose_holdout(source.entries, options.holdout)
    checkpoint = Checkpoint.load(EMBEDDED / "checkpoint")
    kept = 1 - checkpoint.net.dropout.p
    with open_classifier(EMBEDDED, EngineOptions("cpu", precision=options.precision), "fc7") as classifier:
        training, test = (compute_views(source, np.flatnonzero(chosen), classifier, kept) for chosen in (~held, held))
    own = read_last_layer(checkpoint)
    print(f"{len(training.labels)} training images, {len(test.labels)} held out, {options.precision}\n")
    print("| the last layer | power | pull | seconds | training images | held out: over images | over classes |")
    print("|---|---|---|---|---|---|---|")
    print_row("the net's own", "", "", 0, own, training, test)
    for power in POWERS:
        for pull in PULLS:
            began = time.perf_counter()
            layer = fit(own, training, power, pull)
            print_row("fitted", f"{power:g}", f"{pull:g}", time.perf_counter() - began, layer, training, test)
    lengths = own.weight.norm(dim=1, keepdim=True)
    for power in LENGTH_POWERS:
        layer = Layer(own.weight / (lengths / lengths.mean()) ** power, own.bias)
        print_row("lengths", f"{power:g}", "", 0, layer, training, test)


def compute_views(source: Source, chosen: np.ndarray, classifier: Classifier, kept: float) -> Views:
    """Compute what the last layer gets from some images, as the net at test gives it: the share `kept` of fc7."""
    entries = [source.entries[index] for index in chosen]
    labels = source.entries.labels[chosen]
    plan = Plan(source, entries, labels.tolist(), "all", len(entries), len(np.unique(labels)), CHUNK)
    found = forward_chunks(
        plan, range(plan.chunk_count), classifier, lambda images: (classifier.forward_features(images, "fc7"),), 0
    )
    features = np.concatenate([arrays[0] for _, _, arrays in found])
    return Views(torch.from_numpy(features).mul_(kept), torch.from_numpy(labels.astype(np.int64)))


def read_last_layer(checkpoint: Checkpoint) -> Layer:
    """Take fc8 out of a checkpoint."""
    return Layer(
        *(torch.from_numpy(np.asarray(checkpoint.weights[f"fc8.{name}"], np.float32)) for name in ("weight", "bias"))
    )


def fit(own: Layer, training: Views, power: float, pull: float) -> Layer:
    """Fit the layer on every view of the training images, from `own` on, by L-BFGS."""
    shares = torch.bincount(training.labels) / len(training.labels)
    weights = shares[training.labels] ** -power
    weights = (weights / weights.mean()).repeat_interleave(training.features.shape[1])
    flat, labels = training.features.flatten(0, 1), training.labels.repeat_interleave(training.features.shape[1])

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        layer = unflatten(values, own)
        together = torch.cat([layer.weight, layer.bias[:, None]], 1).requires_grad_()
        weight, bias = together[:, :-1], together[:, -1]
        losses = cross_entropy(flat @ weight.T + bias, labels, reduction="none")
        total = (weights * losses).mean() + pull * (weight - own.weight).square().sum()
        (gradient,) = torch.autograd.grad(total, together)
        return float(total.detach()), gradient.double().numpy().ravel()

    start = torch.cat([own.weight, own.bias[:, None]], 1).double().numpy().ravel()
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return unflatten(found.x, own)


def unflatten(values: np.ndarray, like: Layer) -> Layer:
    """The layer of the shape of `like` whose weights and bias of each class lie one behind the other in `values`."""
    together = torch.from_numpy(values.astype(np.float32)).view(len(like.bias), -1)
    return Layer(together[:, :-1], together[:, -1])


def print_row(name: str, power: str, pull: str, seconds: float, layer: Layer, training: Views, test: Views) -> None:
    """Print the errors of a layer, in percent."""
    trained, _ = measure_errors(layer.answer(training.features), training.labels.numpy())
    images, classes = measure_errors(layer.answer(test.features), test.labels.numpy())
    errors = " | ".join(f"{100 * error:.2f}" for error in (trained, images, classes))
    print(f"| {name} | {power} | {pull} | {seconds:.0f} | {errors} |", flush=True)


if __name__ == "__main__":
    main()
