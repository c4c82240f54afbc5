"""Python's filters for Pillow's warnings."""

import warnings


def filter_pillow_warnings() -> None:
    """Silence Pillow's warnings, and make an error of the one about too many pixels, which `decode` answers.

    The filters hold for the whole process. A command installs them when it starts, before any thread decodes; a library
    never does. Without them `decode` gives the same answers, and Pillow's warnings reach stderr.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # such as "Corrupt EXIF data"
    warnings.filterwarnings("error", r"Image size \(", RuntimeWarning, r"PIL\.")  # Image.DecompressionBombWarning
