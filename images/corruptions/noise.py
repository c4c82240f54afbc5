"""The family of noises: gaussian_noise, shot_noise, impulse_noise.

Each takes and returns a square, uint8 [R,R,3], and draws from `random`. images/corruptions/table.py has the severities.
"""

import numpy as np

from tencrop.images.corruptions.pixels import to_bytes, to_floats


def gaussian_noise(square: np.ndarray, random: np.random.Generator, spread: float) -> np.ndarray:
    """Add normal noise of this standard deviation, in parts of the whole range, to each value."""
    return to_bytes(to_floats(square) + random.normal(0, spread, square.shape))


def shot_noise(square: np.ndarray, random: np.random.Generator, photons: float) -> np.ndarray:
    """Count photons: a white value has so many on average, distributed as Poisson's law says."""
    return to_bytes(random.poisson(to_floats(square) * photons) / photons)


def impulse_noise(square: np.ndarray, random: np.random.Generator, share: float) -> np.ndarray:
    """Set this share of the values to 0 or 255, either with the same chance, each colour by itself."""
    is_hit = random.random(square.shape) <= share
    is_white = random.random(square.shape) <= 0.5
    return np.where(is_hit, np.where(is_white, 255, 0), square).astype(np.uint8)
