"""The images of a prepared store, R x R: JPEGs in a file for each part, or raw pixels in one memory-mapped file."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from tencrop.common.atomic import atomic_path
from tencrop.dataset.byte_range import read_at
from tencrop.images.decode import decode
from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract

QUALITY = 95  # of the JPEGs, with chroma at full resolution


class JpegImages:
    """JPEGs end to end in part-00000.bin, part-00001.bin, ... An image that cannot be decoded takes no bytes."""

    quality: int | None = QUALITY
    blank = b""  # stands for an image that cannot be decoded

    def __init__(self, root: Path, size: int) -> None:
        self.root = root

    def find_file(self, part: int) -> Path:
        """The file of a part."""
        return self.root / f"part-{part:05d}.bin"

    def count_missing_bytes(self, images: int) -> int:
        """Number of bytes that so many images take beyond those that are there: not known before they are encoded."""
        return 0

    @staticmethod
    def encode(pixels: np.ndarray) -> bytes:
        """Convert an image, uint8 [R,R,3], to the bytes that are stored."""
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, "JPEG", quality=QUALITY, subsampling=0)
        return packed.getvalue()

    @contextmanager
    def open_part(self, part: int, first: int) -> Iterator[BinaryIO]:
        """Open a part's file at the place of image `first`, for the images of the part in order."""
        with atomic_path(self.find_file(part)) as partial, partial.open("wb") as file:
            yield file

    def read_crop(self, place: tuple[int, int, int], top: int, left: int, size: int) -> np.ndarray:
        """Decode an image and cut a crop, uint8 [size,size,3]; `place` is its part, start and bytes.

        Opens its part each time: a process may not hold 1300 parts open at once.
        """
        part, start, count = place
        with Image.open(io.BytesIO(read_at(self.find_file(part), start, count)), formats=("JPEG",)) as image:
            return np.asarray(image.crop((left, top, left + size, top + size)))


class RawImages:
    """Pixels end to end in pixels.bin, uint8 [images,R,R,3]. An image that cannot be decoded is black.

    The file grows part by part, in place: a part counts once its table is written.
    """

    quality: int | None = None

    def __init__(self, root: Path, size: int) -> None:
        self.file, self.shape = root / "pixels.bin", (size, size, 3)
        self.blank = bytes(size * size * 3)  # stands for an image that cannot be decoded

    def find_file(self, part: int) -> Path:
        """The file of all parts."""
        return self.file

    def count_missing_bytes(self, images: int) -> int:
        """Number of bytes that so many images take beyond those that are there."""
        return images * len(self.blank) - (self.file.stat().st_size if self.file.exists() else 0)

    @staticmethod
    def encode(pixels: np.ndarray) -> bytes:
        """Convert an image, uint8 [R,R,3], to the bytes that are stored."""
        return pixels.tobytes()

    @contextmanager
    def open_part(self, part: int, first: int) -> Iterator[BinaryIO]:
        """Open the file at the place of image `first`, for the images of the part in order. Syncs it at the end."""
        self.file.touch()
        with self.file.open("r+b") as file:
            file.seek(first * len(self.blank))
            yield file
            file.flush()
            os.fsync(file.fileno())

    def read_crop(self, place: tuple[int, int, int], top: int, left: int, size: int) -> np.ndarray:
        """Cut a crop, uint8 [size,size,3], a view of the mapped file; `place` is the image's part, start and bytes."""
        return self._pixels[place[1] // len(self.blank), top : top + size, left : left + size]

    @cached_property
    def _pixels(self) -> np.ndarray:
        """The mapped file, uint8 [images,R,R,3]. A plain array: slices of np.memmap take microseconds."""
        images = self.file.stat().st_size // len(self.blank)
        return np.asarray(np.memmap(self.file, np.uint8, "r", shape=(images, *self.shape)))


Images = JpegImages | RawImages
STORES: dict[str, type[Images]] = {"jpeg": JpegImages, "raw": RawImages}


class PreparedImage(NamedTuple):
    """A prepared image; one that cannot be decoded has a reason, no pixels and no bytes."""

    sha256: bytes | None  # of the original; None where it was not read
    reason: str = ""
    pixels: np.ndarray | None = None
    encoded: bytes = b""
    products: np.ndarray = np.zeros((3, 3))  # sum of pixel x pixel^T


def prepare_image(contract: Contract, encode: Callable[[np.ndarray], bytes], original: bytes) -> PreparedImage:
    """Decode an image and encode its square."""
    sha256 = hashlib.sha256(original).digest()
    try:
        pixels, _ = decode(original, contract)
    except ImageError as error:
        return PreparedImage(sha256, error.code)
    flat = pixels.reshape(-1, 3).astype(np.float64)
    return PreparedImage(sha256, "", pixels, encode(pixels), flat.T @ flat)
