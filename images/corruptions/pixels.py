"""Pixels as floats from 0 to 1, in which the corruptions compute, and back as bytes."""

import numpy as np

HALF = 0.5 / 255  # added before `to_bytes`, it rounds to the nearest byte
DIGITS = 6


def to_floats(square: np.ndarray) -> np.ndarray:
    """Divide bytes by 255: uint8 -> float64 of the same shape."""
    return square / 255.0


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Clip values to 0..1, multiply them by 255 and round down, as the authors' program does.

    The last bits of a float may differ from CPU to CPU. Rounding to DIGITS first keeps them from deciding a byte.
    """
    return np.asarray(np.round(np.clip(values, 0, 1) * 255, DIGITS), np.uint8)
