"""Python's filters for Pillow's warnings, and what libtiff writes to stderr."""

import ctypes
import warnings


def filter_pillow_warnings() -> None:
    """Silence Pillow's warnings, and make an error of the one about too many pixels, which `decode` answers.

    The filters hold for the whole process. A command installs them when it starts, before any thread decodes; a library
    never does. Without them `decode` gives the same answers, and Pillow's warnings reach stderr.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # such as "Corrupt EXIF data"
    warnings.filterwarnings("error", r"Image size \(", RuntimeWarning, r"PIL\.")  # Image.DecompressionBombWarning


def silence_libtiff() -> None:
    """Keep libtiff from writing its errors to stderr; `decode` raises them. To be called before images are decoded.

    libtiff writes past all logs, and waits for ever where stderr is a pipe that nobody reads. Does nothing where
    Pillow's libtiff cannot be reached. Holds for the whole process.
    """
    from PIL import _imaging

    pillow = ctypes.CDLL(_imaging.__file__)  # finds the functions of the libraries that it needs, too
    if hasattr(pillow, "TIFFSetErrorHandler"):
        pillow.TIFFSetErrorHandler(None)
