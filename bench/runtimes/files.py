"""The two files that every runtime runs, exported again from the embedded checkpoint, and the batches that they get."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from bench.runtimes.runners.onnxruntime_session import open_model
from tencrop.export.run import export
from tencrop.export.torch_reference import TorchReference
from tencrop.images.decode import fit_square
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import CENTER_VIEW, Contract
from tencrop.model.embedded import EMBEDDED
from tencrop.model.probe import formula_image

SEEDS = range(2)  # of the images that are made, beside scikit-learn's two photographs
BATCHES = (1, 4)  # numbers of images


class File(NamedTuple):
    """A file that `tencrop export` writes, and the output that is compared."""

    views: str
    output: str


FILES = {"tencrop.onnx": File("ten views", "probabilities"), "net.onnx": File("one view", "logits")}


class Task(NamedTuple):
    """A file with its batches, each a .npy, and onnxruntime's probabilities of each batch, [N,C]."""

    model: Path
    output: str
    batches: list[Path]
    expected: list[np.ndarray]


def write_tasks(folder: Path) -> dict[str, Task]:
    """Write both files and their batches into a folder. Raises WorkFailed where the export's gate refuses."""
    source = EMBEDDED / "checkpoint"
    export(source, folder, "fp32", 0, None)
    checkpoint = Checkpoint.load(source)
    squares = draw_squares(checkpoint.contract)
    crops = np.stack([views[CENTER_VIEW] for views in TorchReference(checkpoint).crop_each(squares)])
    return {name: write_task(folder, name, images) for name, images in zip(FILES, (squares, crops), strict=True)}


def draw_squares(contract: Contract) -> np.ndarray:
    """Scikit-learn's photographs and formula images, uint8 [n,R,R,3]."""
    pictures = [*load_sample_images().images, *map(formula_image, SEEDS)]
    return np.stack([fit_square(Image.fromarray(pixels), contract) for pixels in pictures])


def write_task(folder: Path, name: str, images: np.ndarray) -> Task:
    """Write the batches of a file, and let onnxruntime answer them."""
    model, output = folder / name, FILES[name].output
    forward = open_model(model, output)
    batches, expected = [], []
    for size in BATCHES:
        batches.append(folder / f"{name}.{size}.npy")
        np.save(batches[-1], images[:size])
        expected.append(read_probabilities(output, forward(images[:size])))
    return Task(model, output, batches, expected)


def read_probabilities(output: str, values: np.ndarray) -> np.ndarray:
    """The probabilities [N,C] of an output's values: those of `logits` by a softmax."""
    if output != "logits":
        return values
    powers = np.exp(values.astype(np.float64) - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
