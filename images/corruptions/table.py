"""The 15 corruptions of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR 2019), each at five severities.

The parameters are those of ImageNet-C/create_c/make_imagenet_c.py in github.com/hendrycks/robustness, which made
ImageNet-C from squares of 224 pixels. Here they apply to the square that the net sees, whatever its size.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tencrop.images.corruptions.blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from tencrop.images.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from tencrop.images.corruptions.frost_photographs import read_photographs
from tencrop.images.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from tencrop.images.corruptions.weather import brightness, fog, frost, made_frost, snow

SEVERITIES = (1, 2, 3, 4, 5)
FROST, MADE_FROST = "frost", "frost*"  # by the authors' photographs, and by a texture made here
FROST_PARAMETERS = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
ELASTIC_UNIT = 244  # the authors' number; they meant the side, 224


class Corruption(NamedTuple):
    """A corruption, and its parameters at the severities 1 to 5.

    `apply` takes a square, uint8 [R,R,3], a random generator and the parameters, and returns another square.
    """

    apply: Callable[..., np.ndarray]
    parameters: tuple[tuple[float, ...], ...]


CORRUPTIONS = {
    "gaussian_noise": Corruption(gaussian_noise, ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,))),
    "shot_noise": Corruption(shot_noise, ((60,), (25,), (12,), (5,), (3,))),
    "impulse_noise": Corruption(impulse_noise, ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,))),
    "defocus_blur": Corruption(defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "glass_blur": Corruption(glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "motion_blur": Corruption(motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom_blur": Corruption(zoom_blur, ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))),
    "snow": Corruption(
        snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    FROST: Corruption(frost, FROST_PARAMETERS),
    MADE_FROST: Corruption(made_frost, FROST_PARAMETERS),
    "fog": Corruption(fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": Corruption(brightness, ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,))),
    "contrast": Corruption(contrast, ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,))),
    "elastic_transform": Corruption(
        elastic_transform,
        tuple(
            (ELASTIC_UNIT * strength, ELASTIC_UNIT * sigma, ELASTIC_UNIT * jitter)
            for strength, sigma, jitter in (
                (2, 0.7, 0.1),
                (2, 0.08, 0.2),
                (0.05, 0.01, 0.02),
                (0.07, 0.01, 0.02),
                (0.12, 0.01, 0.02),
            )
        ),
    ),
    "pixelate": Corruption(pixelate, ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,))),
    "jpeg_compression": Corruption(jpeg_compression, ((25,), (18,), (15,), (10,), (7,))),
}


def corrupt(square: np.ndarray, name: str, severity: int, id: str, frost: Path | None = None) -> np.ndarray:
    """Corrupt a square, uint8 [R,R,3], at a severity from 1 to 5.

    The random numbers depend on the corruption, the severity and the image's id alone. "frost" takes the folder of the
    authors' photographs.
    """
    apply, parameters = CORRUPTIONS[name]
    seed = hashlib.sha256(f"{name} {severity} {id}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(seed, "big"))
    more = {"photographs": read_photographs(frost)} if name == FROST and frost else {}
    return apply(square, random, *parameters[severity - 1], **more)
