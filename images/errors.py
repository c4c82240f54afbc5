"""The errors of images that cannot be decoded."""

from typing import NamedTuple

from tencrop.common.errors import BadInput


class Failure(NamedTuple):
    """Why an image cannot be decoded: the code of its ImageError, and its words. Both are empty where it can be."""

    reason: str = ""
    message: str = ""


class ImageError(BadInput):
    """The image is damaged, or would cost too much to decode. `code` is the error's code in HTTP answers."""

    code = "damaged_image"

    @property
    def failure(self) -> Failure:
        """The error without the frames that it came from, which hold the image."""
        return Failure(self.code, self.what)


class TruncatedImage(ImageError):
    """The image ends too early."""


class UnsupportedImage(ImageError):
    """The file is of no format in FORMATS, or of a kind of it that is not read."""

    code = "unsupported_format"


class ImageMissing(ImageError):
    """The image is a link whose target is not there."""

    code = "missing"


class ImageTooLarge(ImageError):
    """The image has more than MAX_PIXELS pixels or MAX_BYTES bytes, or is longer than MAX_ASPECT:1."""

    code = "image_too_large"
