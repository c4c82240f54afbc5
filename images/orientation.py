"""EXIF orientation: turns an image upright as browsers show it."""

import struct
from contextlib import suppress

from PIL import Image, ImageFile

ORIENTATION = 0x0112  # the EXIF tag
MAX_EXIF = 1 << 20  # bytes; Pillow makes an object of each number, which takes 0.4 s per MB
SUBDIRECTORIES = {0x8769, 0x8825, 0xA005}  # of a TIFF: EXIF, GPS, interoperability; Pillow reads them in vain
XMP = ("xmp", "XML:com.adobe.xmp")
EXIF_ERRORS = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error)  # of Pillow's reader
TURNS = {  # EXIF orientation -> the transposition that turns the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height


def load_pixels(opened: ImageFile.ImageFile) -> bool:
    """Load the pixels; return whether EXIF turns the image.

    Pillow itself turns a TIFF as it loads the pixels, and removes the tag.
    """
    if opened.format != "TIFF":
        opened.load()
        return _read_orientation(opened) in TURNS
    is_turned = _read_orientation(opened) in TURNS
    with suppress(*EXIF_ERRORS):
        for directory in SUBDIRECTORIES & opened.getexif().keys():
            del opened.getexif()[directory]
    opened.load()
    return is_turned


def turn_size(image: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """The width and height of the upright picture, where `size` has those of the picture as it is stored."""
    return size[::-1] if _read_orientation(image) in SIDEWAYS else size


def turn_upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says."""
    turn = TURNS.get(_read_orientation(image))
    return image if turn is None else image.transpose(turn)


def _read_orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 where there is no EXIF, where EXIF is damaged, or longer than MAX_EXIF."""
    for xmp in XMP:  # Pillow would read the orientation of XMP too, which browsers ignore
        image.info.pop(xmp, None)
    if len(image.info.get("exif") or b"") > MAX_EXIF:  # HEIF has None there
        return 1
    try:
        value = image.getexif().get(ORIENTATION, 1)
        return value if isinstance(value, int) else 1
    except EXIF_ERRORS:
        return 1
