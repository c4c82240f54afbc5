"""ImageAnswer: one image's answer on its way back, and the count of the requests that have such answers."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from tencrop.images.decode import ImageInfo
from tencrop.images.errors import ImageError
from tencrop.server.metrics import Metrics
from tencrop.server.waiting import BatchedAnswer

ENCODED, SQUARES = "encoded", "squares"  # forms of a request's images
Images = Sequence[bytes] | np.ndarray  # encoded images, or decoded squares, uint8 [N,R,R,3]


class ImageAnswer(NamedTuple):
    """One image's answer. `info` describes the encoded image; a square that a client decoded has none."""

    batched: BatchedAnswer
    info: ImageInfo | None
    decode_seconds: float
    output_seconds: float  # from the end of the forward pass until the row has come


@contextmanager
def count_request(metrics: Metrics, model: str, form: str) -> Iterator[list[ImageAnswer | ImageError]]:
    """Count a request to a model once the block ends, which fills the list: as failed where an image has no answer.

    form: ENCODED or SQUARES.
    """
    started, answers = time.perf_counter(), list[ImageAnswer | ImageError]()
    is_complete = False
    try:
        yield answers
        is_complete = not any(isinstance(answer, ImageError) for answer in answers)
    finally:
        good = [answer for answer in answers if isinstance(answer, ImageAnswer)]
        outcome = "success" if is_complete else "fail"
        seconds = {outcome: time.perf_counter() - started}
        if is_complete:
            seconds |= {
                "queue": max((answer.batched.queue_seconds for answer in good), default=0.0),
                "compute_input": max((answer.decode_seconds for answer in good), default=0.0),
                "compute_infer": max((answer.batched.engine_seconds for answer in good), default=0.0),
                "compute_output": max((answer.output_seconds for answer in good), default=0.0),
            }
        metrics.count_inference(model, form, outcome, len(good), seconds)
