"""Converts an image of any Pillow mode to RGB, transparency laid on white."""

from functools import cache

import numpy as np
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin

WHITE = (255, 255, 255, 255)
GREY_LEVEL = {"L;2": 85, "L;4": 17}  # 8-bit step of a grey level, by Pillow's name of a PNG's raw pixels
STRIP = 64  # rows that are converted at a time


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB, in strips of rows: a large image has no second copy in its own mode."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        whole.paste(_convert_strip(strip), (0, top))
    return whole


def scale_transparent_colour(png: ImageFile.ImageFile) -> None:
    """Scale a PNG's transparent colour to 8 bits, as Pillow scales the pixels. Call before the pixels are loaded."""
    raw = png.tile[0].args
    if raw in GREY_LEVEL:
        png.info["transparency"] *= GREY_LEVEL[raw]
    elif raw == "RGB;16B":
        png.info["transparency"] = tuple(value >> 8 for value in png.info["transparency"])


def mark_unsigned(image: ImageFile.ImageFile) -> None:
    """Remember that the grey of a TIFF is unsigned where Pillow reads 32-bit grey as signed."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode == "I":
        image.info["unsigned"] = image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == 1


def drop_empty_alpha(image: Image.Image, format: str | None) -> Image.Image:
    """Drop the alpha of a BMP that is transparent everywhere, as screenshots from Windows' clipboard are."""
    empty = format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
    return image.convert("RGB") if empty else image


def _convert_strip(image: Image.Image) -> Image.Image:
    """Apply the rule of the image's mode.

    Transparency is laid on white. 16-bit grey is divided by 257, 32-bit grey is read as 16-bit and clipped, float grey
    is clipped to 0..255. CIELAB goes through its colour profile. Every other mode takes Pillow's own conversion.
    """
    if image.mode.startswith("I") or image.mode == "F":
        full = 255 if image.mode == "F" else 65535
        values = np.asarray(image)
        values = values.view(np.uint32) if image.info.get("unsigned") else values
        return Image.fromarray(_to_uint8(values, full, image.info.get("transparency"))).convert("RGB")
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


def _to_uint8(values: np.ndarray, full: int, transparent: int | None) -> np.ndarray:
    """Scale grey [H,W] of any type from 0..full to 0..255; the transparent grey becomes white."""
    clipped = np.nan_to_num(values.astype(np.float64), posinf=full).clip(0, full)
    clipped[values == transparent] = full
    return np.asarray(np.rint(clipped * (255 / full)), np.uint8)
