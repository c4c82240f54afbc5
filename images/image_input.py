"""Every form in which a Python program hands over an image: path, bytes, file object, PIL image, array."""

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from tencrop.common.errors import BadInput, one_line
from tencrop.images.decode import decode, fit_square
from tencrop.images.errors import ImageError
from tencrop.images.limits import MAX_BYTES, check_bytes, read_image_file
from tencrop.model.contract import Contract

ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray


def decode_input(image: ImageInput, contract: Contract) -> np.ndarray:
    """An image in any of these forms as the contract's square, uint8 [R,R,3] RGB, by the rules of `decode`.

    Raises ImageError where the image cannot be decoded, BadInput where a file cannot be read or the form is unknown.
    """
    match image:
        case str() | os.PathLike():
            return _decode_file(Path(image), contract)
        case bytes() | bytearray() | memoryview():
            return _decode_bytes(bytes(image), contract)
        case Image.Image():
            return fit_square(image, contract)
        case np.ndarray():
            return fit_square(_to_pil(image), contract)
        case _ if hasattr(image, "read"):
            return _decode_bytes(_read_file_object(image), contract)
    raise BadInput(
        f"{type(image).__name__} is no image: give a path, bytes, a binary file, a PIL image or a uint8 array [H,W,3]"
    )


def _decode_file(path: Path, contract: Contract) -> np.ndarray:
    try:
        return decode(read_image_file(path), contract)[0]
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise BadInput(f"{str(path)!r}: no path ({error})") from None
    except ImageError as error:
        raise type(error)(f"{path}: {error.what}", error.advice) from None


def _decode_bytes(data: bytes, contract: Contract) -> np.ndarray:
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    return decode(data, contract)[0]


def _read_file_object(file: BinaryIO) -> bytes:
    """Read the rest of a file, at most MAX_BYTES. Raises BadInput for a file that is closed or opened as text."""
    try:
        data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # closed, write-only, or text that is no UTF-8
        raise BadInput(f"the file cannot be read ({one_line(error)})", "open it with mode 'rb'") from None
    if not isinstance(data, bytes):
        raise BadInput(f"{type(file).__name__} is no image: it reads as text", "open the file with mode 'rb'")
    check_bytes(len(data))
    return data


def _to_pil(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise BadInput(f"an array of {pixels.dtype} {list(pixels.shape)} is no image: expected uint8 [H,W,3] in RGB")
    return Image.fromarray(pixels)
