"""Every form in which a Python program hands over an image: path, bytes, file object, PIL image, array."""

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from tencrop.common.errors import BadInput
from tencrop.images.decode import decode, fit_square
from tencrop.images.errors import ImageError
from tencrop.images.limits import MAX_BYTES, check_bytes, read_image_file
from tencrop.model.contract import Contract

ImageInput = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | np.ndarray


def decode_input(image: ImageInput, contract: Contract) -> np.ndarray:
    """An image in any of these forms as the contract's square, uint8 [R,R,3] RGB, by the rules of `decode`.

    Raises ImageError where the image cannot be decoded, BadInput where a file cannot be read or the form is unknown.
    """
    match image:
        case str() | os.PathLike():
            return _decode_file(Path(image), contract)
        case bytes():
            return decode(image, contract)[0]
        case Image.Image():
            return fit_square(image, contract)
        case np.ndarray():
            return fit_square(_to_pil(image), contract)
        case _ if hasattr(image, "read") and isinstance(data := image.read(MAX_BYTES + 1), bytes):
            check_bytes(len(data))
            return decode(data, contract)[0]
    raise BadInput(
        f"{type(image).__name__} is no image: give a path, bytes, a binary file, a PIL image or a uint8 array [H,W,3]"
    )


def _decode_file(path: Path, contract: Contract) -> np.ndarray:
    try:
        return decode(read_image_file(path), contract)[0]
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    except ImageError as error:
        raise type(error)(f"{path}: {error.what}", error.advice) from None


def _to_pil(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise BadInput(f"an array of {pixels.dtype} {list(pixels.shape)} is no image: expected uint8 [H,W,3] in RGB")
    return Image.fromarray(pixels)
