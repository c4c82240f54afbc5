"""A row of bench/engine.py: a way to compute, its work for an image, and its speed."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

WARM_UP = 3  # forward passes of each batch size before the measurement

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 [N,R,R,3] -> [N,C]


class Row(NamedTuple):
    """A way to compute in one precision, its GFLOP an image, and the number of threads that call it at once."""

    predict: Predict
    precision: str  # fp32, tf32, bf16, fp16, int8
    gflop: float
    callers: int = 1


def measure_speed(row: Row, images: np.ndarray, seconds: float) -> float:
    """images/s when each forward pass takes all of `images`."""

    def call(until: float) -> int:
        forwards = 0
        while time.perf_counter() < until:
            row.predict(images)
            forwards += 1
        return forwards

    with ThreadPoolExecutor(row.callers) as callers:
        list(callers.map(row.predict, [images] * (WARM_UP * row.callers)))
        started = time.perf_counter()
        forwards = sum(callers.map(call, [started + seconds] * row.callers))
        return forwards * len(images) / (time.perf_counter() - started)
