"""A plasma fractal: the cloud that fog and made frost are drawn with."""

import numpy as np


def draw_plasma(random: np.random.Generator, side: int, decay: float) -> np.ndarray:
    """Draw a map of heights from 0 to 1, float64 [side,side], by the diamond-square algorithm.

    `decay` divides the jitter from each scale to the next finer one: the smaller, the rougher the cloud.
    """
    size = 1 << (side - 1).bit_length()
    heights = np.zeros((size, size))
    step, jitter = size, 100.0

    def mean_of_four(total: np.ndarray) -> np.ndarray:
        return total / 4 + jitter * random.uniform(-jitter, jitter, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, 0)
        heights[half::step, half::step] = mean_of_four(pairs + np.roll(pairs, -1, 1))
        middles = heights[half::step, half::step]
        above, beside = middles + np.roll(middles, 1, 0), middles + np.roll(middles, 1, 1)
        heights[::step, half::step] = mean_of_four(above + (corners + np.roll(corners, -1, 1)))
        heights[half::step, ::step] = mean_of_four(beside + (corners + np.roll(corners, -1, 0)))
        step, jitter = half, jitter / decay
    heights -= heights.min()
    return np.asarray(heights / heights.max())[:side, :side]
