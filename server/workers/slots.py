"""Slots: places in shared memory for one image each and its answer, so that only numbers pass between processes."""

import math
import mmap
from collections.abc import Sequence
from functools import cache

import numpy as np

from tencrop.server.admission import BEYOND
from tencrop.server.feature_choice import FeatureChoice, list_choices
from tencrop.server.loaded_model import LoadedModel

ALIGNMENT = 64  # bytes, of a cache line
FLOAT = 4  # bytes


class Slots:
    """The slots of all workers, in `memory` from `start` on. Each worker has as many as images can be admitted in all.

    A page takes memory once it was used, and a worker uses the same slots again and again.
    """

    def __init__(self, memory: mmap.mmap, start: int, models: Sequence[LoadedModel]) -> None:
        self._memory, self._start = memory, start
        self._images = [(model.contract.resize, model.contract.resize, 3) for model in models]  # shapes, by model
        self._rows = [_rows_shape(model) for model in models]
        self._widths = [model.features for model in models]
        self.choices: list[list[FeatureChoice]] = [list_choices(widths) for widths in self._widths]  # by model
        self.of_worker, self._pixels_bytes, self._rows_bytes, self._bytes = _measure(models)

    @staticmethod
    def count_bytes(models: Sequence[LoadedModel], workers: int) -> int:
        """The bytes of the slots of so many workers."""
        of_worker, *_, size = _measure(models)
        return workers * of_worker * size

    @cache  # noqa: B019  (the slots live as long as their process)
    def pixels(self, worker: int, slot: int, model: int) -> np.ndarray:
        """The image in a slot, uint8 [R,R,3], as a model takes it."""
        return np.ndarray(self._images[model], np.uint8, self._memory, self._find(worker, slot))

    @cache  # noqa: B019
    def rows(self, worker: int, slot: int, model: int) -> np.ndarray:
        """The answer in a slot, float32 [1 + views, classes]: the mean, then each view's probabilities."""
        offset = self._find(worker, slot) + self._pixels_bytes
        return np.ndarray(self._rows[model], np.float32, self._memory, offset)

    @cache  # noqa: B019
    def features(self, worker: int, slot: int, model: int, layer: str) -> np.ndarray:
        """The features of a layer in a slot, float32 [K]."""
        offset = self._find(worker, slot) + self._pixels_bytes + self._rows_bytes
        return np.ndarray(self._widths[model][layer], np.float32, self._memory, offset)

    def _find(self, worker: int, slot: int) -> int:
        return self._start + (worker * self.of_worker + slot) * self._bytes


def _measure(models: Sequence[LoadedModel]) -> tuple[int, int, int, int]:
    """The number of a worker's slots, the bytes of the largest image and of the most rows, and the bytes of a slot."""
    pixels = _align(max(model.contract.resize**2 * 3 for model in models))
    rows = _align(max(FLOAT * math.prod(_rows_shape(model)) for model in models))
    features = _align(max(FLOAT * max(model.features.values(), default=0) for model in models))
    return sum(BEYOND * model.queue_images for model in models), pixels, rows, pixels + rows + features


def _rows_shape(model: LoadedModel) -> tuple[int, int]:
    return 1 + len(model.contract.views), len(model.contract.labels)


def _align(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
