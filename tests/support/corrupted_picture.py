"""A picture and photographs of frost that are drawn by a formula: what the tests of the corruptions corrupt.

tests/support/corruption_oracle.py draws them too, in an environment without tencrop.
"""

import numpy as np

SIDE = 64
PLACES = np.random.default_rng(2019).permutation(SIDE * SIDE)[:500]  # the pixels that the oracle's answers keep


def draw_picture(side: int = SIDE) -> np.ndarray:
    """A picture with edges, slopes, fine stripes, black, white and grey, uint8 [side,side,3]."""
    y, x = np.mgrid[0:side, 0:side] * (64 / side)
    disk = (x - 24) ** 2 + (y - 28) ** 2 < 15**2
    red = np.where(disk, 220 - 2 * y, 40 + 2 * x)
    green = np.where(disk, 60 + 20 * np.sin(x / 3), 90 + 60 * np.sin(y / 7 + x / 11))
    blue = np.where((x + y) % 16 < 3, 230, 30 + 3 * y)
    picture = np.stack((red, green, blue), axis=2)
    picture[(x > 48) & (y < 12)] = 255
    picture[(x > 48) & (y > 52)] = 0
    picture[(x < 10) & (y > 50)] = 128
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def draw_frost(number: int) -> np.ndarray:
    """A photograph of frost in the place of the authors', uint8 [240+number,260,3]."""
    y, x = np.mgrid[0 : 240 + number, 0:260]
    layer = 128 + 100 * np.sin(x * y / (900 + 90 * number))
    return np.asarray(np.clip(np.round(layer[:, :, None] * (0.8, 0.9, 1.0)), 0, 255), np.uint8)
