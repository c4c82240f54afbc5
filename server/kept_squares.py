"""KeptSquares: the newest squares on which a model and its shadow disagree, as PNG files."""

import io
import time
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tencrop.common.atomic import PARTIAL, write_atomic
from tencrop.server.feedback_store import Pair


class KeptSquares:
    """At most `most` files in a folder, named by the time. The texts `model` and `shadow` in a PNG are the labels."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        for left in folder.glob(f"*.png{PARTIAL}"):  # by a server that was killed
            left.unlink(missing_ok=True)

    def keep(self, square: np.ndarray, pair: Pair) -> None:
        """Write a square, uint8 [R,R,3], and remove the oldest beyond `most`. Raises OSError."""
        text, packed = PngInfo(), io.BytesIO()
        for who, label in pair._asdict().items():
            text.add_itxt(who, label)
        # the quickest compression, for Python's lock is held meanwhile
        Image.fromarray(square).save(packed, "PNG", pnginfo=text, compress_level=1)
        write_atomic(self._folder / f"{time.time_ns():016x}.png", packed.getvalue())
        for oldest in sorted(self._folder.glob("*.png"))[: -self._most]:
            oldest.unlink(missing_ok=True)
