"""The paper's figure 4, right, on your data: the training images nearest to a validation image by the net's last hidden layer.

python -m experiments.figure4 --data PREPARED --checkpoint RUN/checkpoint-0040 [--images 1000] [--picture figure4.png]

The paper shows five test images. Here is also counted how often the nearest image has the right class, by these values and by pixels.
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
from tencrop.dataset.prepared import Prepared
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.net import AlexNet
from tencrop.model.ten_crop_net import TenCropNet

NEAREST = 6  # beside each image, as in the paper
SHOWN = 5  # images, as in the paper
BATCH = 64  # images

Values = Callable[[Tensor], Tensor]  # uint8 [N,R,R,3] -> float [N,D]


def main() -> None:
    """Read the command line; what is wrong with it is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared data set")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a net of its classes")
    parser.add_argument("--images", type=int, default=1000, help="validation images at most, evenly spread")
    parser.add_argument("--picture", type=Path, default=Path("figure4.png"))
    try:
        search(parser.parse_args())
    except BadInput as error:
        sys.exit(str(error))


def search(options: argparse.Namespace) -> None:
    """Look up the nearest by both kinds of values; print how often they are right, draw what the hidden layer finds."""
    prepared, checkpoint = Prepared.open(options.data), Checkpoint.load(options.checkpoint)
    if checkpoint.contract != prepared.contract:
        raise BadInput(f"{options.checkpoint}: trained on other classes than {options.data} has")
    training, validation = (np.flatnonzero(mask) for mask in (~prepared.validation, prepared.validation))
    if len(training) < NEAREST or not len(validation):
        raise BadInput(
            f"{options.data}: holds {len(training)} training and {len(validation)} validation images, too few to look up"
        )
    asked = spread(validation, options.images)
    print(f"{len(asked)} validation images among {len(training)} training images; of the right class:")
    for name, values in kinds(checkpoint).items():
        found = nearest(values, prepared, asked, training)
        right = prepared.labels[found] == prepared.labels[asked][:, None]
        print(f"by {name}: the nearest {right[:, 0].mean():.1%}, of the nearest {NEAREST} {right.mean():.1%}")
        if name == "hidden layer":
            shown = spread(np.arange(len(asked)), SHOWN)
            draw(prepared, asked[shown], found[shown], options.picture)


def spread(indices: np.ndarray, most: int) -> np.ndarray:
    """At most so many of them, evenly."""
    return indices[np.arange(min(most, len(indices))) * len(indices) // min(most, len(indices))]


def kinds(checkpoint: Checkpoint) -> dict[str, Values]:
    """What images are compared by, the center crop of each: what fc8 is given, [N,4096], and the pixels themselves, [N,3*224*224]."""
    layers = list(AlexNet.from_weights(checkpoint.net, checkpoint.weights))[:-1]
    net = TenCropNet(nn.Sequential(*layers), checkpoint.contract, checkpoint.mean).eval()
    center = (checkpoint.contract.views[CENTER_VIEW],)
    return {
        "hidden layer": lambda images: net.net(net.inputs(images, center)[:, 0]),
        "pixels": lambda images: net.inputs(images, center).flatten(1),
    }


@torch.inference_mode()
def nearest(values: Values, prepared: Prepared, asked: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Of each asked image the nearest of the others by Euclidean distance, the closest first: indices [len(asked),NEAREST]."""
    queries = torch.cat([values(torch.from_numpy(images)) for images, _ in prepared.batches(asked, BATCH)])
    squares = queries.square().sum(1, keepdim=True)
    distances, found = torch.empty(len(asked), 0), torch.empty(len(asked), 0, dtype=torch.int64)
    starts = range(0, len(among), BATCH)
    for start, (images, _) in zip(starts, prepared.batches(among, BATCH), strict=True):
        indices = torch.from_numpy(among[start : start + BATCH]).expand(len(asked), -1)
        others = values(torch.from_numpy(images))
        # squared, and not by torch.cdist, which copies all queries for each batch
        distances = torch.cat([distances, squares + others.square().sum(1) - 2 * (queries @ others.T)], 1)
        distances, order = distances.topk(min(NEAREST, distances.shape[1]), largest=False)
        found = torch.cat([found, indices], 1).gather(1, order)
    return found.numpy()


def draw(prepared: Prepared, asked: np.ndarray, found: np.ndarray, picture: Path) -> None:
    """A row an image: itself, then its nearest; a name in red is of another class."""
    figure = Figure(figsize=(9, 1.5 * len(asked)), dpi=120)
    axes = figure.subplots(len(asked), 1 + NEAREST, squeeze=False)
    for row, image, others in zip(axes, asked, found, strict=True):
        for place, index in zip(row, (image, *others), strict=True):
            label = prepared.labels[index]
            place.imshow(prepared.pixels(int(index)))
            place.set_title(
                prepared.contract.labels[label].name, fontsize=7, color="k" if label == prepared.labels[image] else "r"
            )
            place.axis("off")
    figure.tight_layout()
    figure.savefig(picture)


if __name__ == "__main__":
    main()
