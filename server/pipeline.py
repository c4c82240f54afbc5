"""What happens to an image between its bytes and its answer, whichever interface it came by: decode pool, queue, forward."""

import asyncio
import time
from collections.abc import Awaitable
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import numpy as np
from fastapi import Request
from starlette.requests import ClientDisconnect

from tencrop.common.errors import ImageError
from tencrop.images.decode import ImageInfo, decode, decode_small
from tencrop.server.batcher import BatchedAnswer, Batcher
from tencrop.server.errors import ApiError
from tencrop.server.state import ServerState

T = TypeVar("T")


class NoAnswer(ImageError):
    """The net's answer is no number, as that of one which divides by an image's contrast."""

    code = "no_answer"


class Answered(NamedTuple):
    """One image: what it was, what the net says, and the seconds of its decoding."""

    info: ImageInfo
    prediction: BatchedAnswer
    decode_seconds: float


async def answer(state: ServerState, batcher: Batcher, data: bytes) -> Answered:
    """Decode an encoded image and predict. Raises ImageError."""
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    loop = asyncio.get_running_loop()
    with batcher.in_flight():
        started = time.perf_counter()
        decoded = await loop.run_in_executor(state.decoders, decode_small, data, batcher.model.contract)
        if decoded is None:
            decoded = await loop.run_in_executor(state.large_decoder, decode, data, batcher.model.contract)
        pixels, info = decoded
        seconds = time.perf_counter() - started
        prediction = await _predicted(batcher, pixels)
    batcher.metrics.decode_seconds.labels(batcher.model.name).observe(seconds)
    return Answered(info, prediction, seconds)


async def answer_pixels(batcher: Batcher, pixels: np.ndarray) -> BatchedAnswer:
    """Predict of an image that is uint8 [R,R,3] already. Raises NoAnswer."""
    with batcher.in_flight():
        return await _predicted(batcher, pixels)


async def _predicted(batcher: Batcher, pixels: np.ndarray) -> BatchedAnswer:
    """Raises NoAnswer."""
    prediction = await batcher.predict(pixels)
    if not np.isfinite(prediction.probabilities).all():
        raise NoAnswer("the model's answer to this image is no number")
    return prediction


async def with_deadline(state: ServerState, request: Request, work: Awaitable[T]) -> T:
    """What comes of it. The request's body must have been read.

    Raises ApiError 504 where it takes longer than the deadline, ClientDisconnect where the client leaves; it is cancelled then.
    """
    seconds = state.settings.deadline_seconds
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(request.receive())  # the next message after a body says that the client is gone
    try:
        await asyncio.wait((task, left), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if left.done():
            raise ClientDisconnect
        raise ApiError(HTTPStatus.GATEWAY_TIMEOUT, "deadline", f"no answer within {seconds:g} s; try again")
    finally:
        left.cancel()
        task.cancel()
