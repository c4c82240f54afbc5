"""Repeats the right half of the paper's figure 4 on your data: training images nearest in the last hidden layer.

python -m experiments.figure4 --data PREPARED --checkpoint RUN/checkpoint-0040 [--images 1000] [--picture figure4.png]

The paper shows five test images. This command also counts how often the nearest image has the right class, by the
values of the hidden layer and by the pixels.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.net import AlexNet
from tencrop.model.ten_crop_net import TenCropNet

NEAREST = 6  # beside each image, as in the paper
SHOWN = 5  # images, as in the paper
BATCH = 64  # images

Features = Callable[[Tensor], Tensor]  # uint8 [N,R,R,3] -> float [N,D]


def main() -> None:
    """Read the command line and search; bad input is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared data set")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a net of the same classes")
    parser.add_argument("--images", type=int, default=1000, help="most validation images, evenly spread")
    parser.add_argument("--picture", type=Path, default=Path("figure4.png"), help="where to draw the figure")
    try:
        search(parser.parse_args())
    except BadInput as error:
        sys.exit(str(error))


def search(options: argparse.Namespace) -> None:
    """Find the nearest images by both features; print how often they are right, draw those of the hidden layer."""
    prepared, checkpoint = PreparedStore.open(options.data), Checkpoint.load(options.checkpoint)
    if checkpoint.contract != prepared.contract:
        raise BadInput(f"{options.checkpoint}: the classes are not those of {options.data}")
    training, validation = (np.flatnonzero(mask) for mask in (~prepared.validation, prepared.validation))
    if len(training) < NEAREST or not len(validation):
        raise BadInput(f"{options.data}: {len(training)} training and {len(validation)} validation images are too few")
    queries = spread_evenly(validation, options.images)
    print(f"{len(queries)} validation images among {len(training)} training images; of the right class:")
    for name, features in feature_functions(checkpoint).items():
        found = find_nearest(features, prepared, queries, training)
        right = prepared.labels[found] == prepared.labels[queries][:, None]
        print(f"by {name}: the nearest {right[:, 0].mean():.1%}, of the nearest {NEAREST} {right.mean():.1%}")
        if name == "hidden layer":
            shown = spread_evenly(np.arange(len(queries)), SHOWN)
            draw(prepared, queries[shown], found[shown], options.picture)


def spread_evenly(indices: np.ndarray, most: int) -> np.ndarray:
    """Choose up to `most` of the indices, evenly spread."""
    return indices[np.arange(min(most, len(indices))) * len(indices) // min(most, len(indices))]


def feature_functions(checkpoint: Checkpoint) -> dict[str, Features]:
    """Features of the center crop, by name: the input of fc8, [N,4096], and the pixels, [N,3*224*224]."""
    layers = list(AlexNet.from_weights(checkpoint.net, checkpoint.weights))[:-1]
    net = TenCropNet(nn.Sequential(*layers), checkpoint.contract, checkpoint.mean).eval()
    center = (checkpoint.contract.views[CENTER_VIEW],)
    return {
        "hidden layer": lambda images: net.net(net.cut_views(images, center)[:, 0]),
        "pixels": lambda images: net.cut_views(images, center).flatten(1),
    }


@torch.inference_mode()
def find_nearest(features: Features, prepared: PreparedStore, queries: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The images of `among` nearest to each query by Euclidean distance, closest first: [len(queries),NEAREST]."""
    own = torch.cat([features(torch.from_numpy(images)) for images, _ in prepared.iter_batches(queries, BATCH)])
    squares = own.square().sum(1, keepdim=True)
    distances, found = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    starts = range(0, len(among), BATCH)
    for start, (images, _) in zip(starts, prepared.iter_batches(among, BATCH), strict=True):
        indices = torch.from_numpy(among[start : start + BATCH]).expand(len(queries), -1)
        others = features(torch.from_numpy(images))
        # squared distances; torch.cdist would copy all queries for each batch
        distances = torch.cat([distances, squares + others.square().sum(1) - 2 * (own @ others.T)], 1)
        distances, order = distances.topk(min(NEAREST, distances.shape[1]), largest=False)
        found = torch.cat([found, indices], 1).gather(1, order)
    return found.numpy()


def draw(prepared: PreparedStore, queries: np.ndarray, found: np.ndarray, picture: Path) -> None:
    """Draw a row per image: the image, then its nearest ones; a red name is another class."""
    figure = Figure(figsize=(9, 1.5 * len(queries)), dpi=120)
    axes = figure.subplots(len(queries), 1 + NEAREST, squeeze=False)
    for row, image, others in zip(axes, queries, found, strict=True):
        for place, index in zip(row, (image, *others), strict=True):
            label = prepared.labels[index]
            place.imshow(prepared.read_pixels(int(index)))
            place.set_title(
                prepared.contract.labels[label].name, fontsize=7, color="k" if label == prepared.labels[image] else "r"
            )
            place.axis("off")
    figure.tight_layout()
    figure.savefig(picture)


if __name__ == "__main__":
    main()
