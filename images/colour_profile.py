"""Converts the square of an image with a colour profile to sRGB, as browsers show it. Telephones write Display P3."""

import zlib
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from tencrop.images.limits import PNG, find_chunks
from tencrop.model.contract import Decoding

RGB_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA")  # of files; profiles of grey and of inks are ignored
MAX_PROFILE_BYTES = 4 << 20  # a longer one is ignored; the largest of cameras take some 1 MiB
SAME = 2  # of 255; a square that moves no further stays as it is: its profile is sRGB in other words


def find_profile(image: Image.Image, decoding: Decoding, data: bytes = b"") -> bytes | None:
    """The profile that this decoding applies to an opened image; None where there is none.

    `data` is the file, where there is one: images/limits.py hides the profile of a PNG from Pillow.
    """
    if not decoding.icc_profile or image.mode not in RGB_MODES:
        return None
    profile = _read_png_profile(data) if data.startswith(PNG) else image.info.get("icc_profile")
    return profile if profile and len(profile) <= MAX_PROFILE_BYTES else None


def convert_to_srgb(square: Image.Image, profile: bytes) -> Image.Image:
    """Convert an RGB image by its profile. A profile that is damaged, or none of RGB, is ignored."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB":
            return square
        converted = ImageCms.profileToProfile(square, source, _srgb(), ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return square
    assert converted is not None
    difference = np.abs(np.asarray(square, np.int16) - np.asarray(converted, np.int16))
    return converted if difference.max() > SAME else square


def _read_png_profile(png: bytes) -> bytes | None:
    """Inflate the chunk iCCP: a name, a zero, the method 0, zlib. None where it is missing or damaged."""
    for kind, start, end in find_chunks(png):
        if kind == b"iCCP":
            _, _, packed = png[start + 8 : end - 4].partition(b"\0")
            try:
                return zlib.decompressobj().decompress(packed[1:], MAX_PROFILE_BYTES + 1)
            except zlib.error:
                return None
        if kind == b"IDAT":
            return None
    return None


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
