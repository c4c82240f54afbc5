"""Hashes of the corrupted picture. `PYTHONPATH=. python tests/support/corruption_golden.py` writes golden.json.

A new hash is right where the oracle's test passes and the change of the code is meant to change bytes.
"""

import hashlib
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, features

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.corrupted_picture import draw_frost, draw_picture
from tencrop.images.corruptions.frost_photographs import NAMES
from tencrop.images.corruptions.table import CORRUPTIONS, SEVERITIES, corrupt

FILE = Path(__file__).parents[1] / "fixtures" / "corruptions" / "golden.json"
LIBJPEG = "libjpeg_turbo"


def write_frost(folder: Path) -> Path:
    """Write the drawn photographs of frost. All are PNGs, whatever their names say: libjpeg decides no byte."""
    for number, name in enumerate(NAMES):
        Image.fromarray(draw_frost(number)).save(folder / name, "PNG")
    return folder


def hash_all(frost: Path) -> dict[str, list[str]]:
    """The hash of the picture under each corruption at the severities 1 to 5."""
    picture = draw_picture()
    return {
        name: [hash_picture(corrupt(picture, name, severity, "a/b.jpg", frost)) for severity in SEVERITIES]
        for name in CORRUPTIONS
    }


def hash_picture(picture: np.ndarray) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the pixels."""
    return hashlib.sha256(picture.tobytes()).hexdigest()[:16]


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        golden = {LIBJPEG: features.version(LIBJPEG), "corruptions": hash_all(write_frost(Path(folder)))}
    FILE.write_text(json.dumps(golden, indent=1) + "\n")
