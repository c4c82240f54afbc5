"""The authors' photographs of frost, which a user finds in ImageNet-C/create_c of github.com/hendrycks/robustness."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tencrop.common.errors import BadInput

NAMES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")  # the authors never draw the sixth


@cache
def read_photographs(folder: Path) -> tuple[np.ndarray, ...]:
    """Read the five photographs, uint8 [H,W,3] each. Raises BadInput where one is missing or damaged."""
    photographs = []
    for name in NAMES:
        try:
            with Image.open(folder / name) as image:
                photographs.append(np.asarray(image.convert("RGB")))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            why = getattr(error, "strerror", None) or "it is no image"
            advice = f"--frost takes a folder with the authors' {NAMES[0]} to {NAMES[-1]}"
            raise BadInput(f"{folder / name}: cannot be read ({why})", advice) from None
    return tuple(photographs)


def check_photographs(folder: Path, side: int) -> str:
    """Hash the pixels of the photographs. Raises BadInput where one is no larger than a square of this side."""
    digest = hashlib.sha256()
    for name, photograph in zip(NAMES, read_photographs(folder), strict=True):
        height, width = photograph.shape[:2]
        if min(height, width) <= side:
            raise BadInput(f"{folder / name}: has {width}x{height} pixels, no more than the net's square of {side}")
        digest.update(photograph.tobytes())
    return digest.hexdigest()
