"""Image bytes -> uint8 [R,R,3]: the one decoder of images from clients and data sets.

Bit-equal to torchvision's Resize(R) + CenterCrop(R). A prepared data set has squares of this decoder as JPEGs, and
dataset/prepared_store.py reads those back.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from tencrop.images.errors import ImageError, ImageTooLarge, UnsupportedImage
from tencrop.images.limits import MAX_READS, check_encoded
from tencrop.images.orientation import EXIF_ERRORS, load_pixels, turn_upright
from tencrop.images.to_rgb import convert_to_rgb, drop_empty_alpha, scale_transparent_colour
from tencrop.model.contract import Contract

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
)  # WebP: RIFF....WEBP
MAX_PIXELS = 50_000_000  # the largest pictures of telephones; checked before any pixel is decoded
LARGE = 8_000_000  # pixels; images with more are decoded one at a time, which bounds the memory
MAX_ASPECT = 100  # longer : shorter side; beyond it the resized image alone would fill the memory

_one_large = threading.Lock()


class ImageInfo(NamedTuple):
    """Format and mode of the file, and the size of the upright picture."""

    format: str
    mode: str
    width: int
    height: int
    exif_rotated: bool


def decode(data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
    """Decode the first frame of an encoded image into the contract's square, uint8 [R,R,3] RGB.

    Raises UnsupportedImage, ImageTooLarge, or ImageError where the bytes are damaged.
    """
    with _open_image(data) as opened:
        return _decode_opened(opened, contract)


def decode_small(data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo] | None:
    """Decode as `decode` does, but return None at once for an image of more than LARGE pixels."""
    with _open_image(data) as opened:
        return None if _is_large(opened) else _decode_opened(opened, contract)


def fit_square(image: Image.Image, contract: Contract) -> np.ndarray:
    """Convert a PIL image, which is left as it is, into the contract's square, uint8 [R,R,3] RGB, as `decode` does.

    Raises ImageTooLarge, or ImageError where Pillow cannot load the pixels.
    """
    _check_size(*image.size)
    try:
        format, loaded = image.format, image.copy()
    except EXIF_ERRORS as error:
        raise ImageError(f"damaged image ({type(error).__name__}: {error})") from None
    return _resize_and_crop(convert_to_rgb(drop_empty_alpha(turn_upright(loaded), format)), contract.resize)


@contextmanager
def _open_image(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open an image and read its header. Whatever fails here or in the block is raised as ImageError."""
    try:
        file = check_encoded(data)
        with Image.open(file, formats=FORMATS) as opened:
            file.left = MAX_READS
            _check_size(*opened.size)
            yield opened
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # the latter by filter_pillow_warnings
        raise ImageTooLarge(f"image of more than {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        if _has_known_signature(data):
            raise ImageError("damaged image (its header cannot be read)") from None
        raise UnsupportedImage(f"not an image of a known format ({', '.join(FORMATS)})") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        raise ImageError(f"damaged image ({type(error).__name__}: {error})") from None


def _decode_opened(opened: ImageFile.ImageFile, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
    with _one_large if _is_large(opened) else nullcontext():
        if opened.format == "PNG" and "transparency" in opened.info:
            scale_transparent_colour(opened)
        is_turned = load_pixels(opened)
        image = drop_empty_alpha(turn_upright(opened), opened.format)
        info = ImageInfo(opened.format or "", opened.mode, *image.size, is_turned)
        return _resize_and_crop(convert_to_rgb(image), contract.resize), info


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height > LARGE


def _has_known_signature(data: bytes) -> bool:
    """True where the bytes begin like a file of one of FORMATS."""
    return data.startswith(SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(f"image of {width}x{height} pixels; at most {MAX_PIXELS} are allowed")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageTooLarge(f"image of {width}x{height} pixels is longer than {MAX_ASPECT}:1")


def _resize_and_crop(image: Image.Image, side: int) -> np.ndarray:
    """Resize the shorter side to `side`, the longer one rounded down; then cut out the central square (section 2)."""
    width, height = image.size
    short = min(width, height)
    image = image.resize((side * width // short, side * height // short), Image.Resampling.BILINEAR)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return np.asarray(image.crop((left, top, left + side, top + side)))
