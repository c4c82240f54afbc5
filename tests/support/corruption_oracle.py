"""Writes tests/fixtures/corruptions/oracle.npz: what the package `imagecorruptions` makes of the picture.

imagecorruptions 1.1.2 runs with no numpy from 2 on, so it has an environment of its own:

    python3.11 -m venv /tmp/oracle
    /tmp/oracle/bin/pip install 'numpy<2' 'scikit-image==0.20.0' 'scipy<1.12' 'opencv-python-headless<4.11'
    /tmp/oracle/bin/pip install 'setuptools<81' && /tmp/oracle/bin/pip install --no-deps imagecorruptions==1.1.2
    /tmp/oracle/bin/python tests/support/corruption_oracle.py

All random numbers come from one generator with the seed SEED, so that the tests can draw the same ones.
"""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from imagecorruptions import corruptions
from PIL import Image
from scipy.ndimage import map_coordinates
from skimage.filters import gaussian

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.corrupted_picture import PLACES, draw_frost, draw_picture

SEED = 7
FILE = Path(__file__).parents[1] / "fixtures" / "corruptions" / "oracle.npz"
NAMES = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
]
WARPS = ((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88))
new_generator, clipped_zoom = np.random.default_rng, corruptions.clipped_zoom


def main() -> None:
    """Corrupt the picture by every corruption at every severity, and keep the pixels at PLACES."""
    picture = draw_picture()
    kept: dict[str, Any] = {}
    for name in NAMES:
        for severity in range(1, 6):
            draw_from(new_generator(SEED))
            if name == "elastic_transform":
                corrupted = warp(picture, *WARPS[severity - 1])
            else:
                corrupted = getattr(corruptions, name)(Image.fromarray(picture), severity)
            kept[f"{name}-{severity}"] = np.uint8(corrupted).reshape(-1, 3)[PLACES]
    np.savez_compressed(FILE, **kept)


def draw_from(generator: np.random.Generator) -> None:
    """Let numpy's global functions draw from the generator, and read photographs of frost from the drawn ones."""
    numpys: Any = np.random
    for name in ("normal", "uniform", "poisson"):
        setattr(numpys, name, getattr(generator, name))
    numpys.randint = generator.integers
    numpys.default_rng = lambda seed=None: generator  # of scikit-image's random_noise
    cv2.imread = lambda file: draw_frost(int(Path(file).stem[-1]) - 1)[..., ::-1]
    cv2.resize = lambda image, dsize, interpolation: image  # the authors do not enlarge the photographs
    corruptions.gaussian = lambda image, sigma, multichannel: gaussian(image, sigma, channel_axis=2)  # its new name
    corruptions.clipped_zoom = lambda image, factor: cut_middle(clipped_zoom(image, factor), len(image))


def cut_middle(magnified: np.ndarray, side: int) -> np.ndarray:
    """Cut out the middle as the authors do; the package takes the corner."""
    first = (len(magnified) - side) // 2
    return magnified[first : first + side, first : first + side]


def warp(picture: np.ndarray, strength: float, sigma: float, jitter: float) -> np.ndarray:
    """The authors' elastic_transform. The package has another one, without the first step and milder."""
    side = len(picture)
    image = np.float32(picture) / 255
    low, high = side // 2 - side // 3, side // 2 + side // 3
    points = np.array([(high, high), (high, low), (low, low)], np.float32)
    moved = points + np.float32(np.random.uniform(-jitter, jitter, (3, 2)))
    image = cv2.warpAffine(
        image, cv2.getAffineTransform(points, moved), (side, side), borderMode=cv2.BORDER_REFLECT_101
    )
    fields = [np.random.uniform(-1, 1, (side, side)) for _ in range(2)]
    right, down = (gaussian(field, sigma, mode="reflect", truncate=3) * strength for field in fields)
    y, x, channel = np.indices(picture.shape)
    at = (y + down[..., None], x + right[..., None], channel)
    return np.asarray(np.clip(map_coordinates(image, at, order=1, mode="reflect"), 0, 1) * 255)


if __name__ == "__main__":
    main()
