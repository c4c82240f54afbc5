"""Sample images for the parity gate and for int8's calibration: photographs of a folder, or formula-made images."""

from pathlib import Path

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.dataset.walk import walk
from tencrop.images.decode import decode
from tencrop.images.errors import ImageError
from tencrop.images.file_name import is_image
from tencrop.model.contract import Contract
from tencrop.model.probe import formula_png


def make_formula_images(contract: Contract, n: int) -> np.ndarray:
    """n images with the 1/f spectrum of photographs, uint8 [n,R,R,3]."""
    return np.stack([decode(formula_png(seed), contract)[0] for seed in range(100, 100 + n)])


def choose_photographs(folder: Path, n: int) -> list[Path]:
    """Choose at most n files, spread evenly over the image files in a folder and its subfolders."""
    paths = sorted(
        place / name
        for place, files in walk(folder, Inventory())
        for name in files
        if is_image(name) and (place / name).is_file()
    )
    return [paths[i * len(paths) // n] for i in range(n)] if len(paths) > n else paths


def load_photographs(folder: Path, contract: Contract, n: int) -> np.ndarray:
    """Load the photographs that `choose_photographs` gives, uint8 [n,R,R,3].

    Files that cannot be decoded are left out. Raises BadInput where no image is left.
    """
    images: list[np.ndarray] = []
    for path in choose_photographs(folder, n):
        try:
            images.append(decode(path.read_bytes(), contract)[0])
        except ImageError:
            continue
    if not images:
        raise BadInput(f"--images {folder}: no image there that can be decoded")
    return np.stack(images)
