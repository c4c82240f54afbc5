"""Measures retrieval of photographs of the same class: mean average precision by the last hidden layer and by pixels.

python -m experiments.retrieval --data PREPARED --checkpoint RUN/checkpoint-0030

Each validation image ranks all training images by Euclidean distance, as in the paper's figure 4. Its average precision
is the mean, over the training images of its class, of the share of right ones up to that place. The net may have been
trained on other classes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from experiments.figure4 import BATCH, Features, feature_functions
from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint


def main() -> None:
    """Measure and print; bad input is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared data set")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the net")
    options = parser.parse_args()
    try:
        measure(PreparedStore.open(options.data), Checkpoint.load(options.checkpoint))
    except BadInput as error:
        sys.exit(str(error))


def measure(prepared: PreparedStore, checkpoint: Checkpoint) -> None:
    """Print the mean average precision by each kind of features. Raises BadInput where the sizes do not fit."""
    if prepared.contract.resize != checkpoint.contract.resize:
        raise BadInput(
            f"images of {prepared.contract.resize} pixels for a net that cuts views of {checkpoint.contract.resize}"
        )
    gallery, queries = (np.flatnonzero(mask) for mask in (~prepared.validation, prepared.validation))
    print(f"{len(queries)} validation images rank {len(gallery)} training images; mean average precision:")
    for name, features in feature_functions(checkpoint).items():
        found = compute_features(features, prepared, queries), compute_features(features, prepared, gallery)
        right = prepared.labels[queries][:, None] == prepared.labels[gallery]
        print(f"by {name}: {average_precision(measure_distances(*found), right).mean():.3f}")


@torch.inference_mode()
def compute_features(features: Features, prepared: PreparedStore, indices: np.ndarray) -> torch.Tensor:
    """Features of these images, [n,D]."""
    return torch.cat([features(torch.from_numpy(images)) for images, _ in prepared.iter_batches(indices, BATCH)])


def measure_distances(queries: torch.Tensor, gallery: torch.Tensor) -> np.ndarray:
    """Euclidean distances, [queries,gallery]."""
    return torch.cdist(queries, gallery).numpy()


def average_precision(distances: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Average precision of each query, float64 [queries].

    distances and right (of the query's class): [queries,gallery]. Each query must have a right image.
    """
    ranked = np.take_along_axis(right, np.argsort(distances, 1, kind="stable"), 1)
    precision = np.cumsum(ranked, 1) / np.arange(1, ranked.shape[1] + 1)
    return np.asarray((precision * ranked).sum(1) / ranked.sum(1))


if __name__ == "__main__":
    main()
