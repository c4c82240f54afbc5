"""SharedArray: an array of squares into which several processes decode images.

Imports little: a decoding process imports it, and does nothing else first.
"""

import mmap
import os
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tencrop.images.decode import decode
from tencrop.images.errors import Failure, ImageError
from tencrop.model.contract import Contract


class SharedArray:
    """A uint8 array that processes share. Its memory has no name, and ends with the last process that maps it."""

    def __init__(self, shape: Sequence[int], descriptor: int | None = None) -> None:
        self.shape = tuple(shape)
        self.descriptor = os.memfd_create("tencrop") if descriptor is None else descriptor
        os.ftruncate(self.descriptor, prod(shape))
        self.array = np.frombuffer(mmap.mmap(self.descriptor, prod(shape)), np.uint8).reshape(self.shape)

    def __reduce__(self) -> Any:
        """Pickle the descriptor, which a process of DecodeProcesses inherits."""
        return SharedArray, (self.shape, self.descriptor)

    def close(self) -> None:
        """Close the descriptor. The array stays as long as something refers to it."""
        os.close(self.descriptor)


def decode_into(squares: np.ndarray, contract: Contract, place: int, encoded: bytes) -> Failure:
    """Decode an image into a square of [n,R,R,3]. Return why it cannot be decoded, and then leave the square."""
    try:
        squares[place] = decode(encoded, contract)[0]
    except ImageError as error:
        return error.failure
    return Failure()


def decode_into_shared(shared: SharedArray, contract: Contract, place: int, encoded: bytes) -> Failure:
    """`decode_into`, as another process runs it."""
    return decode_into(shared.array, contract, place, encoded)
