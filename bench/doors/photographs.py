"""The three photographs that clients send, drawn by a formula and encoded to the usual number of bytes."""

import io
from typing import NamedTuple

from PIL import Image

from tencrop.model.probe import formula_image


class Photograph(NamedTuple):
    """A JPEG of so many pixels. `enlarged`: how often a smaller image was enlarged, for a telephone blurs pixels."""

    width: int
    height: int
    quality: int
    enlarged: int = 1

    def encode(self, seed: int) -> bytes:
        """The JPEG of the formula image of a seed."""
        drawn = formula_image(seed, self.width // self.enlarged, self.height // self.enlarged)
        packed = io.BytesIO()
        image = Image.fromarray(drawn).resize((self.width, self.height), Image.Resampling.LANCZOS)
        image.save(packed, "JPEG", quality=self.quality)
        return packed.getvalue()


PHOTOGRAPHS = {
    "256x256": Photograph(256, 256, 45),  # 17 kB
    "500x375, as ImageNet's": Photograph(500, 375, 77),  # 83 kB
    "4032x3024, a telephone's": Photograph(4032, 3024, 75, enlarged=12),  # 1.1 MB
}
