"""Finds the images of a feature file that are nearest to an image, as figure 4 (right) of the paper shows them."""

import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from tencrop.common.errors import BadInput, Stopped
from tencrop.evaluation.feature_file import FeatureFile
from tencrop.images.image_input import ImageInput, decode_input
from tencrop.model.feature_output import choose_views
from tencrop.runtime.classifier import Classifier

SPARE = 16  # rows of a block that faiss finds beyond those that are wanted
MARGIN = 1e-3  # of a squared distance; far more than what float32 loses in a sum of 9,216 squares


class Neighbour(NamedTuple):
    """An image of a feature file, and the Euclidean distance of its features from those of the query."""

    distance: float
    id: str
    label: str


def describe_image(image: ImageInput, model: Classifier, file: FeatureFile) -> np.ndarray:
    """The features of an image as those of the file were computed, float32 [K].

    model: opened with the file's layer. Raises BadInput where another model gave the file's features, ImageError where
    the image cannot be decoded.
    """
    if model.sha256 != file.origin.model_sha256:
        raise BadInput(
            f"{file.path}: its features are of the model {file.origin.model_sha256[:12]}, "
            f"and {model.name} is {model.sha256[:12]}",
            "name that model with --model, or take the features again",
        )
    square = decode_input(image, model.contract)
    return np.asarray(choose_views(model.forward_features(square[None], file.origin.layer), file.origin.views)[0])


def find_neighbours(
    features: np.ndarray, file: FeatureFile, top: int, is_stopped: Callable[[], bool] = lambda: False
) -> list[Neighbour]:
    """Compare features [K] with every row of the file, block by block. The nearest come first, equals in file order.

    Raises Stopped once `is_stopped` returns true, BadInput where the file is damaged.
    """
    best: list[Neighbour] = []
    query = features.astype(np.float64)
    for ids, labels, block in file.iter_blocks():
        if is_stopped():
            raise Stopped("the search was stopped")
        rows = find_candidates(features, block, top)
        distances = np.sqrt(((block[rows] - query) ** 2).sum(1))
        nearest = np.argsort(distances, kind="stable")[:top]
        best += [Neighbour(float(distances[at]), ids[rows[at]], labels[rows[at]]) for at in nearest]
        best = sorted(best, key=lambda found: found.distance)[:top]
    return best


def find_candidates(features: np.ndarray, block: np.ndarray, top: int) -> np.ndarray:
    """Indices of rows among which the `top` nearest are, in their order: few where faiss is installed, else all.

    faiss computes in float32. The rows that it leaves out must be farther than the wanted ones by more than MARGIN.
    """
    rows = np.arange(len(block))
    if len(block) <= top + SPARE or not (faiss := _load_faiss()):
        return rows
    squares, nearest = faiss.knn(features[None].astype(np.float32), block, top + SPARE)
    is_certain = squares[0, -1] > squares[0, top - 1] * (1 + MARGIN)
    return np.sort(nearest[0]) if is_certain else rows


@cache
def _load_faiss() -> Any:
    """The module faiss; None where it is not installed."""
    if find_spec("faiss") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its SWIG, with Python 3.12 and later
        import faiss

    return faiss
