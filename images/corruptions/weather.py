"""The family of weather: snow, frost, made_frost, fog, brightness.

Each takes and returns a square, uint8 [R,R,3], and draws from `random`. Lengths are in pixels of the square.
"""

from collections.abc import Sequence

import numpy as np

from tencrop.images.corruptions.blur import blur_along, zoom
from tencrop.images.corruptions.pixels import HALF, to_bytes, to_floats
from tencrop.images.corruptions.plasma import draw_plasma

GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue
ICE = (0.88, 0.96, 1.0)  # colour of made frost


def snow(
    square: np.ndarray,
    random: np.random.Generator,
    mean: float,
    spread: float,
    magnified: float,
    least: float,
    radius: int,
    sigma: float,
    keep: float,
) -> np.ndarray:
    """Whiten the picture and let flakes fall over it: magnified noise above `least`, blurred downwards."""
    flakes = zoom(random.normal(mean, spread, square.shape[:2]), magnified)
    flakes = to_floats(to_bytes(np.where(flakes < least, 0, flakes)))
    fallen = to_floats(to_bytes(blur_along(flakes, radius, sigma, random.uniform(-135, -45)) + HALF))[:, :, None]
    values = to_floats(square)
    white = np.maximum(values, (values @ GREY)[:, :, None] * 1.5 + 0.5)
    return to_bytes(keep * values + (1 - keep) * white + fallen + fallen[::-1, ::-1])


def frost(
    square: np.ndarray, random: np.random.Generator, keep: float, amount: float, photographs: Sequence[np.ndarray]
) -> np.ndarray:
    """Lay a random piece of one of the photographs, uint8 [H,W,3] and larger than the square, over the picture."""
    side = len(square)
    photograph = photographs[int(random.integers(len(photographs)))]
    top, left = (int(random.integers(0, length - side)) for length in photograph.shape[:2])
    return _lay_over(square, keep, amount, to_floats(photograph[top : top + side, left : left + side]))


def made_frost(square: np.ndarray, random: np.random.Generator, keep: float, amount: float) -> np.ndarray:
    """`frost` without the authors' photographs: sharp ridges and dim ice, both of plasma fractals."""
    side = len(square)
    ridges = (1 - np.abs(2 * draw_plasma(random, side, 1.8) - 1)) ** 4
    ice = 0.6 * ridges + 0.4 * draw_plasma(random, side, 3.0)
    return _lay_over(square, keep, amount, ice[:, :, None] * ICE)


def _lay_over(square: np.ndarray, keep: float, amount: float, layer: np.ndarray) -> np.ndarray:
    return to_bytes(keep * to_floats(square) + amount * layer)


def fog(square: np.ndarray, random: np.random.Generator, amount: float, decay: float) -> np.ndarray:
    """Add a cloud, and scale the sum back to the range of the picture."""
    values = to_floats(square)
    brightest = values.max()
    cloud = draw_plasma(random, len(square), decay)[:, :, None]
    return to_bytes((values + amount * cloud) * brightest / (brightest + amount))


def brightness(square: np.ndarray, random: np.random.Generator, amount: float) -> np.ndarray:
    """Raise the value of each pixel in hue, saturation and value. Hue and saturation stay."""
    values = to_floats(square)
    value = values.max(axis=2, keepdims=True)
    raised = np.minimum(value + amount, 1)
    grey = np.broadcast_to(raised, values.shape).copy()  # of black pixels, which have no hue
    return to_bytes(np.divide(values * raised, value, out=grey, where=value > 0))
