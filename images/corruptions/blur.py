"""The family of blurs: defocus_blur, glass_blur, motion_blur, zoom_blur.

Each takes and returns a square, uint8 [R,R,3], and draws from `random`. Lengths are in pixels of the square, the same
numbers as for the authors' squares of 224 pixels.
"""

from functools import cache
from math import ceil

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter
from scipy.signal import fftconvolve

from tencrop.images.corruptions.pixels import HALF, to_bytes, to_floats

SMALL_DISK = 8  # pixels; up to this radius the disk has a margin and softer edges of 3 pixels, beyond it 5


def defocus_blur(square: np.ndarray, random: np.random.Generator, radius: int, softness: float) -> np.ndarray:
    """Spread each pixel over a disk, as a lens out of focus does."""
    kernel = _draw_disk(radius, softness)
    margin = len(kernel) // 2
    padded = np.pad(to_floats(square), ((margin, margin), (margin, margin), (0, 0)), "reflect")
    return to_bytes(fftconvolve(padded, kernel[:, :, None], "valid", axes=(0, 1)))


@cache
def _draw_disk(radius: int, softness: float) -> np.ndarray:
    """A disk of sum 1 whose edge is smoothed by a normal curve with the standard deviation `softness`."""
    reach = max(radius, SMALL_DISK)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.asarray(x * x + y * y <= radius * radius, float)
    disk /= disk.sum()
    half = 1 if radius <= SMALL_DISK else 2
    weights = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * softness**2))
    for axis in (0, 1):
        disk = np.asarray(correlate1d(disk, weights / weights.sum(), axis, mode="mirror"))
    return disk


def glass_blur(square: np.ndarray, random: np.random.Generator, sigma: float, reach: int, rounds: int) -> np.ndarray:
    """Blur, put pixels in the place of others within `reach` so many times, and blur again.

    The authors' program means to swap two pixels, but assigns views, so that one of them overwrites the other.
    ImageNet-C was made so; here it is the same.
    """
    side = len(square)
    blurred = to_bytes(gaussian_filter(to_floats(square), (sigma, sigma, 0), mode="nearest"))
    inner = np.arange(side - reach, reach, -1)
    places = (inner[:, None] * side + inner).ravel()  # row by row, from the last pixel to the first
    here, source = places.tolist(), list(range(side * side))
    for _ in range(rounds):
        right, down = random.integers(-reach, reach, (len(places), 2)).T
        for place, other in zip(here, (places + down * side + right).tolist(), strict=True):
            source[place] = source[other]
    shuffled = blurred.reshape(-1, 3)[source].reshape(square.shape)
    return to_bytes(gaussian_filter(to_floats(shuffled), (sigma, sigma, 0), mode="nearest"))


def motion_blur(square: np.ndarray, random: np.random.Generator, radius: int, sigma: float) -> np.ndarray:
    """Blur along a direction within 45 degrees of the horizontal."""
    return to_bytes(blur_along(to_floats(square), radius, sigma, random.uniform(-45, 45)) + HALF)


def blur_along(values: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """Blur values [R,R] or [R,R,3] to one side of each pixel, as ImageMagick's motion blur does.

    The weights fall off as a normal curve over 2 * radius + 1 steps. Pixels beyond the edge are those at the edge.
    """
    side, steps = len(values), np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    down, right = (np.ceil(steps * along - 0.5).astype(int) for along in (_sin(degrees), _cos(degrees)))
    margin = int(steps[-1])
    padded = np.pad(values, [(margin, margin)] * 2 + [(0, 0)] * (values.ndim - 2), "edge")
    blurred = np.zeros_like(values)
    for weight, top, left in zip(weights, (margin + down).tolist(), (margin + right).tolist(), strict=True):
        blurred += weight * padded[top : top + side, left : left + side]
    return blurred


def _sin(degrees: float) -> float:
    return float(np.sin(np.deg2rad(degrees)))


def _cos(degrees: float) -> float:
    return float(np.cos(np.deg2rad(degrees)))


def zoom_blur(square: np.ndarray, random: np.random.Generator, stop: float, step: float) -> np.ndarray:
    """Average the square and its magnifications by 1, 1 + step and so on up to `stop`."""
    values = to_floats(square)
    factors = np.arange(1, stop, step).tolist()
    return to_bytes((values + sum(zoom(values, factor) for factor in factors)) / (len(factors) + 1))


def zoom(values: np.ndarray, factor: float) -> np.ndarray:
    """Magnify the middle of values [R,R] or [R,R,3] to the same size, by linear interpolation as scipy's zoom."""
    side = len(values)
    seen = ceil(side / factor)
    large = round(seen * factor)
    at = (side - seen) // 2 + (np.arange(side) + (large - side) // 2) * ((seen - 1) / (large - 1))
    low = at.astype(int)
    high = np.minimum(low + 1, side - 1)
    share = (at - low).reshape(-1, *[1] * (values.ndim - 1))
    for _ in range(2):  # along the rows, then along the columns
        values = (values[low] * (1 - share) + values[high] * share).swapaxes(0, 1)
    return values
