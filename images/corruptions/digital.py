"""The family of digital corruptions: contrast, elastic_transform, pixelate, jpeg_compression.

Each takes and returns a square, uint8 [R,R,3], and draws from `random`. Lengths are in pixels of the square.
"""

import io
from functools import cache

import numpy as np
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter1d, map_coordinates

from tencrop.images.corruptions.pixels import to_bytes, to_floats


def contrast(square: np.ndarray, random: np.random.Generator, keep: float) -> np.ndarray:
    """Move each value towards the mean of its colour, so that `keep` of the difference is left."""
    values = to_floats(square)
    means = values.mean(axis=(0, 1))
    return to_bytes((values - means) * keep + means)


def elastic_transform(
    square: np.ndarray, random: np.random.Generator, strength: float, sigma: float, jitter: float
) -> np.ndarray:
    """Move three points of the picture by up to `jitter`, then stretch it locally.

    The local displacements are uniform noise, smoothed over `sigma` and multiplied by `strength`.
    """
    side = len(square)
    matrix, offset = _draw_affine(random, side, jitter)
    smooth = _smoother(side, sigma)
    right, down = (smooth @ random.uniform(-1, 1, (side, side)) @ smooth.T * strength for _ in range(2))
    at = np.mgrid[:side, :side] + (down, right)
    channels = [
        map_coordinates(affine_transform(channel, matrix, offset, order=1, mode="mirror"), at, order=1, mode="reflect")
        for channel in np.moveaxis(to_floats(square), 2, 0)
    ]
    return to_bytes(np.stack(channels, axis=2))


def _draw_affine(random: np.random.Generator, side: int, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw where three points (x, y) go. Return the map back of (row, column): matrix [2,2] and offset [2]."""
    low, high = side // 2 - side // 3, side // 2 + side // 3
    points = np.array([(high, high), (high, low), (low, low)], float)
    moved = points + random.uniform(-jitter, jitter, points.shape)
    back = np.linalg.solve(np.column_stack((moved, np.ones(3))), points)  # (x, y, 1) @ back = (x, y) before
    return back[1::-1, ::-1].T, back[2, ::-1]


@cache
def _smoother(side: int, sigma: float) -> np.ndarray:
    """The matrix [R,R] that smooths a column by a normal curve. For a wide one it is much faster than the filter."""
    smoother: np.ndarray = gaussian_filter1d(np.eye(side), sigma, axis=0, mode="reflect", truncate=3)
    return smoother


def pixelate(square: np.ndarray, random: np.random.Generator, share: float) -> np.ndarray:
    """Shrink the picture to this share of its side, and enlarge it again, by Pillow's box filter."""
    side = len(square)
    small = Image.fromarray(square).resize((int(side * share),) * 2, Image.Resampling.BOX)
    return np.asarray(small.resize((side, side), Image.Resampling.BOX))


def jpeg_compression(square: np.ndarray, random: np.random.Generator, quality: int) -> np.ndarray:
    """Store the picture as a JPEG. The bytes depend on the build of libjpeg that Pillow has."""
    file = io.BytesIO()
    Image.fromarray(square).save(file, "JPEG", quality=quality)
    with Image.open(file) as stored:
        return np.asarray(stored)
