"""Opens a HEIC by libheif (the extra `heif`), and an AVIF by Pillow's libavif."""

import io
from importlib.util import find_spec

from PIL import AvifImagePlugin, Image, ImageFile

from tencrop.common.extras import install_line
from tencrop.images.errors import UnsupportedImage
from tencrop.images.heif_limits import HEVC, check_heif

_in_one_thread = False  # as `decode_in_one_thread` set it


def open_heif(data: bytes) -> ImageFile.ImageFile:
    """Open a HEIC or AVIF that has passed `check_heif`. Raises UnsupportedImage where its decoder is not installed."""
    heif = check_heif(data)
    file = io.BytesIO(heif.data)
    if heif.kind != HEVC:
        if not AvifImagePlugin.SUPPORTED:
            raise UnsupportedImage("an AVIF is not read: Pillow was built without libavif here")
        return Image.open(file, formats=["AVIF"])
    if find_spec("pillow_heif") is None:
        raise UnsupportedImage(f"a HEIC is read by pillow-heif, which is not installed: {install_line(['heif'])}")
    import pillow_heif

    if _in_one_thread:
        pillow_heif.options.DECODE_THREADS = 1
    return pillow_heif.HeifImageFile(file)  # type: ignore[no-untyped-call]


def decode_in_one_thread() -> None:
    """Let libavif and libheif decode an image in the thread that asks. Holds for the whole process.

    Commands call this when they start, as they decode an image in each thread.
    """
    global _in_one_thread
    _in_one_thread = True
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
