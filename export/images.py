"""Images that a gate compares on and that int8 is calibrated on: photographs of a folder, else pictures made by a formula."""

from pathlib import Path

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.dataset.source import is_image
from tencrop.dataset.walk import walk
from tencrop.images.decode import decode
from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract
from tencrop.model.probe import formula_png


def make_formula_images(contract: Contract, n: int) -> np.ndarray:
    """With the 1/f spectrum of photographs, uint8 [n,R,R,3]."""
    return np.stack([decode(formula_png(seed), contract)[0] for seed in range(100, 100 + n)])


def load_photographs(folder: Path, contract: Contract, n: int) -> np.ndarray:
    """At most n, spread evenly over what is named as an image in a folder and in those below it, uint8 [n,R,R,3].

    Raises BadInput where there is none.
    """
    paths = sorted(
        place / name for place, files in walk(folder) for name in files if is_image(name) and (place / name).is_file()
    )
    found: list[np.ndarray] = []
    for path in [paths[i * len(paths) // n] for i in range(n)] if len(paths) > n else paths:
        try:
            found.append(decode(path.read_bytes(), contract)[0])
        except ImageError:
            continue
    if not found:
        raise BadInput(f"--images {folder}: no image there that can be decoded")
    return np.stack(found)
