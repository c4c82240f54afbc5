"""Image bytes -> uint8 [R,R,3]: the only decoder of the project. Bit-equal to torchvision's Resize(R) + CenterCrop(R)."""

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from tencrop.images.errors import ImageError, ImageTooLarge, UnsupportedImage
from tencrop.images.limits import MAX_READS, check_encoded
from tencrop.model.contract import Contract

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000  # what telephones make; checked before anything is decoded
LARGE = 8_000_000  # pixels; images beyond it are decoded one at a time, so that memory stays bounded
MAX_ASPECT = 100  # longer : shorter side; beyond it the resized image alone would fill memory
ORIENTATION = 0x0112  # the EXIF tag
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    struct.error,
)  # what Pillow raises of EXIF
MAX_EXIF = 1 << 20  # bytes; Pillow makes objects of its numbers, 0.4 s a MB
SUBDIRECTORIES = {
    0x8769,
    0x8825,
    0xA005,
}  # of a TIFF: EXIF's own, GPS's, other programs'; Pillow reads all of them for nothing
XMP = ("xmp", "XML:com.adobe.xmp")
UPRIGHT = {  # EXIF orientation -> what turns the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
)  # WebP: RIFF....WEBP
WHITE = (255, 255, 255, 255)
GREY_LEVEL = {"L;2": 85, "L;4": 17}  # of 8 bits, by Pillow's name for a PNG's raw pixels
STRIP = 64  # rows

_one_large = threading.Lock()


class ImageInfo(NamedTuple):
    """What the file said it was; width and height as a person sees the picture, after its EXIF turn."""

    format: str
    mode: str
    width: int
    height: int
    exif_rotated: bool


def decode(data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
    """The first frame of an encoded image as the net's R x R square, uint8 [R,R,3] RGB, and what the file was.

    Raises UnsupportedImage, ImageTooLarge, or ImageError where the bytes are damaged.
    """
    with _opened(data) as opened:
        return _decoded(opened, contract)


def decode_small(data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo] | None:
    """As `decode`; None, at once, for an image of more than LARGE pixels."""
    with _opened(data) as opened:
        return None if _is_large(opened) else _decoded(opened, contract)


def square_of(image: Image.Image, contract: Contract) -> np.ndarray:
    """A PIL image as the net's R x R square, uint8 [R,R,3] RGB, by the same rules; the image itself stays as it is.

    Raises ImageTooLarge, or ImageError where Pillow cannot load the image.
    """
    _check_size(*image.size)
    try:
        format, loaded = image.format, image.copy()
    except DAMAGED as error:
        raise ImageError(f"damaged image ({type(error).__name__}: {error})") from None
    return _square(_rgb(_opaque(_upright(loaded), format)), contract.resize)


@contextmanager
def _opened(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """The image, its header read; what goes wrong in the block is an ImageError."""
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
        if _signed(data):
            raise ImageError("damaged image (its header cannot be read)") from None
        raise UnsupportedImage(f"not an image of a known format ({', '.join(FORMATS)})") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        raise ImageError(f"damaged image ({type(error).__name__}: {error})") from None


def _decoded(opened: ImageFile.ImageFile, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
    with _one_large if _is_large(opened) else nullcontext():
        if opened.format == "PNG" and "transparency" in opened.info:
            _scale_key(opened)
        tagged = _loaded(opened)
        image = _opaque(_upright(opened), opened.format)
        info = ImageInfo(opened.format or "", opened.mode, *image.size, tagged)
        return _square(_rgb(image), contract.resize), info


def _opaque(image: Image.Image, format: str | None) -> Image.Image:
    """Drop the alpha of a BMP that is transparent everywhere, as screenshots from Windows' clipboard are."""
    empty = format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
    return image.convert("RGB") if empty else image


def _loaded(opened: ImageFile.ImageFile) -> bool:
    """Load it; whether EXIF says to turn it. Pillow turns a TIFF itself as it loads it, and removes the tag."""
    if opened.format != "TIFF":
        opened.load()
        return _orientation(opened) in UPRIGHT
    tagged = _orientation(opened) in UPRIGHT
    with suppress(*DAMAGED):
        for directory in SUBDIRECTORIES & opened.getexif().keys():
            del opened.getexif()[directory]
    opened.load()
    return tagged


def _scale_key(png: ImageFile.ImageFile) -> None:
    """A PNG's transparent colour is told in the file's own depth; Pillow scales pixels to 8 bits, and not it."""
    raw = png.tile[0].args  # there until it is loaded
    if raw in GREY_LEVEL:
        png.info["transparency"] *= GREY_LEVEL[raw]
    elif raw == "RGB;16B":
        png.info["transparency"] = tuple(value >> 8 for value in png.info["transparency"])


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height > LARGE


def _signed(data: bytes) -> bool:
    """Whether the bytes begin as a file of one of FORMATS does."""
    return data.startswith(SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(f"image of {width}x{height} pixels; at most {MAX_PIXELS} in all")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageTooLarge(f"image of {width}x{height} pixels is longer than {MAX_ASPECT}:1")


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation; damaged EXIF counts as none, and so does one of more than MAX_EXIF bytes."""
    for xmp in XMP:  # Pillow would look there, too, and browsers do not
        image.info.pop(xmp, None)
    if len(image.info.get("exif", b"")) > MAX_EXIF:
        return 1
    try:
        value = image.getexif().get(ORIENTATION, 1)
        return value if isinstance(value, int) else 1
    except DAMAGED:
        return 1


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says."""
    turn = UPRIGHT.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    """Every Pillow mode as RGB, by strips of rows: an image may be large, and what is converted stands beside it."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        whole.paste(_strip_rgb(strip), (0, top))
    return whole


def _strip_rgb(image: Image.Image) -> Image.Image:
    """The rule of each mode.

    Transparency is laid on white; 16-bit grey is divided by 257; 32-bit grey is read as 16-bit and clipped; float grey
    is clipped to 0..255; CIELAB goes through its colour profile; the rest is Pillow's own conversion.
    """
    if image.mode.startswith("I") or image.mode == "F":
        full = 255 if image.mode == "F" else 65535
        return Image.fromarray(_grey(np.asarray(image), full, image.info.get("transparency"))).convert("RGB")
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab_to_rgb()) or image
    if image.mode in ("RGBa", "La"):
        image = image.convert(image.mode.upper())
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")
    return image.convert("RGB")


@cache
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


def _grey(values: np.ndarray, full: int, transparent: int | None) -> np.ndarray:
    """Grey [H,W] of any type on 0..full -> uint8; a PNG's transparent grey is white."""
    clipped = np.nan_to_num(values.astype(np.float64), posinf=full).clip(0, full)
    clipped[values == transparent] = full
    return np.asarray(np.rint(clipped * (255 / full)), np.uint8)


def _square(image: Image.Image, side: int) -> np.ndarray:
    """The shorter side resized to `side`, the longer rounded down, then the central square (section 2)."""
    width, height = image.size
    short = min(width, height)
    image = image.resize((side * width // short, side * height // short), Image.Resampling.BILINEAR)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return np.asarray(image.crop((left, top, left + side, top + side)))
