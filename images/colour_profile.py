"""Converts the square of an image with a colour profile to sRGB, as browsers show it. Telephones write Display P3."""

import zlib
from functools import cache, lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from tencrop.images.limits import PNG, find_chunks
from tencrop.model.contract import Decoding

RGB_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA")  # of files; profiles of grey and of inks are ignored
MAX_PROFILE_BYTES = 4 << 20  # a longer one is ignored; the largest of cameras take some 1 MiB
SAME = 2  # of 255; a profile that moves no colour further is sRGB in other words
KEPT_PROFILES = 16
KEPT_BYTES = 64 << 10  # a longer profile is read anew each time, so that hostile files do not fill the memory
TABLE_BYTES = 132 + 100 * 12  # of a profile's head and of its most tags that are read, each with 12 bytes
CHAINS = b"D2B"  # begins the names of tags with a chain of any length, of which each element takes a millisecond


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
    open_transform = _open_transform if len(profile) <= KEPT_BYTES else _open_transform.__wrapped__
    transform = open_transform(profile)
    return square if transform is None else _apply(transform, square)


@lru_cache(KEPT_PROFILES)
def _open_transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile's colours to sRGB; None where there is none, or where it changes nothing.

    It takes 4 ms to build, and photographs share a few profiles.
    """
    head = profile[:TABLE_BYTES].replace(CHAINS, CHAINS.lower())  # browsers do not read these tags either
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(head + profile[TABLE_BYTES:]))
        if source.profile.xcolor_space.strip() != "RGB":
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(source, _srgb(), "RGB", "RGB", intent)
        moved = np.abs(np.asarray(_apply(transform, _colours()), np.int16) - np.asarray(_colours(), np.int16))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return transform if moved.max() > SAME else None


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only where it converts in place
    return converted


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


@cache
def _colours() -> Image.Image:
    """An image of 17 shades of red, green and blue in all combinations."""
    shades = np.linspace(0, 255, 17).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(shades, shades, shades), -1).reshape(17, -1, 3))
