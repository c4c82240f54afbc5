"""DecodePool: the threads that decode images, so that the event loop never does."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from tencrop.images.decode import ImageInfo, decode, decode_small
from tencrop.model.contract import Contract
from tencrop.runtime.cores import cores

T = TypeVar("T")


class DecodePool:
    """A thread for each core, and one more for large images alone: small images never wait for a large one."""

    def __init__(self) -> None:
        self._small = ThreadPoolExecutor(cores(), "decode")
        self._large = ThreadPoolExecutor(1, "decode large")

    async def decode(self, data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
        """An encoded image -> uint8 [R,R,3] and its description. Raises ImageError."""
        decoded = await self.run(decode_small, data, contract)
        if decoded is None:
            decoded = await asyncio.get_running_loop().run_in_executor(self._large, decode, data, contract)
        return decoded

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in one of the threads for small images."""
        return await asyncio.get_running_loop().run_in_executor(self._small, function, *arguments)

    def close(self) -> None:
        """Wait for the images that are being decoded; drop those that are not."""
        for pool in (self._small, self._large):
            pool.shutdown(cancel_futures=True)
