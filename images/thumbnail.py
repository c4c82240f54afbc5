"""Thumbnail: an image as a small JPEG, for reports and pages."""

import base64
import io

from PIL import Image

from tencrop.images.decode import decode
from tencrop.model.contract import Contract

THUMBNAIL = Contract(resize=224, crop=224)  # pixels; the square that the net sees, smaller
QUALITY = 80  # as JPEG; about 12 kB per photograph


def make_thumbnail(image: bytes) -> str:
    """An encoded image -> a small JPEG in base64. Raises ImageError."""
    pixels, _ = decode(image, THUMBNAIL)
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(packed.getvalue()).decode()
