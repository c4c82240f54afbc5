"""The errors of images that cannot be decoded."""

from tencrop.common.errors import BadInput


class ImageError(BadInput):
    """The image is damaged, or would cost too much to decode. `code` is the error's code in HTTP answers."""

    code = "damaged_image"


class TruncatedImage(ImageError):
    """The image ends too early."""


class UnsupportedImage(ImageError):
    """The file is of no format in FORMATS, or of a kind of it that is not read."""

    code = "unsupported_format"


class ImageTooLarge(ImageError):
    """The image has more than MAX_PIXELS pixels or MAX_BYTES bytes, or is longer than MAX_ASPECT:1."""

    code = "image_too_large"
