"""Image bytes -> uint8 [R,R,3]: the one decoder of images from clients and data sets.

Bit-equal to torchvision's Resize(R) + CenterCrop(R), but for what the contract's `decode` names: large JPEGs that are
scaled down first (images/jpeg_scale.py), and colour profiles (images/colour_profile.py). A prepared data set has
squares of this decoder; dataset/prepared_store.py reads those back.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from tencrop.images.colour_profile import convert_to_srgb, find_profile
from tencrop.images.damage import explain_failure
from tencrop.images.errors import ImageError, ImageTooLarge, TruncatedImage
from tencrop.images.formats import OF_PILLOW, is_heif
from tencrop.images.heif_open import open_heif
from tencrop.images.jpeg_end import complete, sum_pixels
from tencrop.images.jpeg_scale import has_several_scans, scale_jpeg
from tencrop.images.jpeg_segments import SOI
from tencrop.images.large_image_lock import one_large
from tencrop.images.limits import MAX_READS, check_encoded
from tencrop.images.orientation import EXIF_ERRORS, load_pixels, turn_size, turn_upright
from tencrop.images.to_rgb import convert_to_rgb, drop_empty_alpha, mark_unsigned, scale_transparent_colour
from tencrop.model.contract import Contract

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}  # by the contract's names
MAX_PIXELS = 50_000_000  # the largest pictures of telephones; checked before any pixel is decoded
LARGE = 8_000_000  # pixels; images with more are decoded one at a time, which bounds the memory
LARGE_FOR = {"WEBP": LARGE // 2, "AVIF": LARGE // 2, "HEIF": LARGE // 2}  # 16 bytes a pixel, the others at most 8
MAX_ASPECT = 100  # longer : shorter side; beyond it the resized image alone would fill the memory


class ImageInfo(NamedTuple):
    """Format and mode of the file, and the size of the upright picture."""

    format: str
    mode: str
    width: int
    height: int
    exif_rotated: bool


def decode(data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
    """Decode the first frame of an encoded image into the contract's square, uint8 [R,R,3] RGB.

    A JPEG that lacks nothing but its end marker is decoded too. Raises UnsupportedImage, ImageTooLarge, or ImageError
    where the bytes are damaged.
    """
    try:
        with _open_image(data) as opened:
            return _decode_opened(opened, data, contract)
    except TruncatedImage as error:
        return _decode_without_end(data, contract, error)


def fit_square(image: Image.Image, contract: Contract) -> np.ndarray:
    """Convert a PIL image, which is left as it is, into the contract's square, uint8 [R,R,3] RGB, as `decode` does.

    Its pixels are taken as they are: a large JPEG that `decode` would scale down comes out a little different.
    Raises ImageTooLarge, or ImageError where Pillow cannot load the pixels.
    """
    _check_size(*image.size)
    with one_large if _is_large(image) else nullcontext():
        try:
            format, loaded = image.format, image.copy()
        except (*EXIF_ERRORS, AssertionError) as error:  # AssertionError: Pillow's, of an image whose file is closed
            raise explain_failure(error, b"") from None
        profile = find_profile(image, contract.decode)
        upright = convert_to_rgb(drop_empty_alpha(turn_upright(loaded), format))
        return _resize_and_crop(upright, contract, profile)


@contextmanager
def _open_image(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open an image and read its header. Whatever fails here or in the block is raised as ImageError."""
    try:
        if is_heif(data):
            opener = open_heif(data)
        else:
            file = check_encoded(data)
            opener = Image.open(file, formats=OF_PILLOW)
            file.left = MAX_READS
        with opener as opened:
            _check_size(*opened.size)
            yield opened
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # the latter by filter_pillow_warnings
        raise ImageTooLarge(f"image of more than {MAX_PIXELS} pixels") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        raise explain_failure(error, data) from None


def _decode_opened(opened: ImageFile.ImageFile, data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
    size, is_large, profile = opened.size, _is_large(opened), find_profile(opened, contract.decode, data)
    if opened.format in ("JPEG", "MPO"):
        scale_jpeg(opened, contract)
        is_large = is_large and (_is_large(opened) or has_several_scans(data))
    is_scaled = opened.size != size
    with one_large if is_large else nullcontext():
        if opened.format == "PNG" and "transparency" in opened.info:
            scale_transparent_colour(opened)
        mark_unsigned(opened)
        is_turned = load_pixels(opened)
        image = drop_empty_alpha(turn_upright(opened), opened.format)
        upright = turn_size(opened, size) if is_scaled else image.size
        info = ImageInfo(opened.format or "", opened.mode, *upright, is_turned)
        return _resize_and_crop(convert_to_rgb(image), contract, profile), info


def _decode_without_end(data: bytes, contract: Contract, error: TruncatedImage) -> tuple[np.ndarray, ImageInfo]:
    """Decode a JPEG that lacks its end marker and nothing else. Raises `error` where pixels are missing."""
    if not data.startswith(SOI) or not _is_same(islice(complete(data), 2), scale=8) or not _is_same(complete(data)):
        raise error
    with _open_image(data := next(complete(data))) as opened:
        return _decode_opened(opened, data, contract)


def _is_same(jpegs: Iterable[bytes], scale: int = 1) -> bool:
    """True where there are JPEGs and all of them have the same pixels. Scaled down, they are decoded faster."""
    pixels = None
    for jpeg in jpegs:
        with _open_image(jpeg) as opened, one_large if _is_large(opened) else nullcontext():
            opened.draft(opened.mode, (-(-opened.width // scale), -(-opened.height // scale)))
            opened.load()
            if pixels not in (None, pixels := sum_pixels(opened)):
                return False
    return pixels is not None


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height > LARGE_FOR.get(image.format or "", LARGE)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(f"image of {width}x{height} pixels; at most {MAX_PIXELS} are allowed")
    if not width * height:
        raise ImageError(f"image of {width}x{height} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageTooLarge(f"image of {width}x{height} pixels is longer than {MAX_ASPECT}:1")


def _resize_and_crop(image: Image.Image, contract: Contract, profile: bytes | None) -> np.ndarray:
    """Resize the shorter side to R, the longer one rounded down; then cut out the central square (section 2).

    The square is converted to sRGB where there is a profile.
    """
    width, height = image.size
    short, side = min(width, height), contract.resize
    image = image.resize((side * width // short, side * height // short), RESAMPLING[contract.filter])
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    square = image.crop((left, top, left + side, top + side))
    return np.asarray(convert_to_srgb(square, profile) if profile else square)
