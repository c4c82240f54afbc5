"""The version of the decoder: the libraries that turn encoded images into pixels, as answers and reports name them."""

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from PIL import __version__ as pillow_version
from PIL import features


@cache
def decoder_version() -> str:
    """Pillow, its JPEG library, and the reader of HEIC where it is installed, each with its version.

    Equal texts decode an image to the same pixels, as Pillow's wheels contain all other codecs.
    """
    names = [f"Pillow {pillow_version}", f"libjpeg-turbo {features.version_feature('libjpeg_turbo') or 'none'}"]
    with suppress(PackageNotFoundError):  # of the extra `heif`
        names.append(f"pillow-heif {version('pillow-heif')}")
    return ", ".join(names)
