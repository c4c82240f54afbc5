"""Admission: how many images of one model may be under way at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from tencrop.server.errors import ApiError
from tencrop.server.metrics import Metrics


class Admission:
    """Counts one model's admitted images; at most `capacity` are admitted at once.

    An image is admitted from the arrival of its bytes until its answer. Used by the event loop's thread alone.
    """

    def __init__(self, model: str, capacity: int, metrics: Metrics) -> None:
        self.capacity = capacity
        self.admitted = 0  # images
        metrics.watch_admitted(model, lambda: self.admitted)

    def check_room(self, images: int = 1) -> None:
        """Raises ApiError 429 where fewer places than `images` are free."""
        if self.admitted + images > self.capacity:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "queue_full",
                "too many images are waiting; try again",
                {"Retry-After": "1"},
            )

    @contextmanager
    def admit(self, images: int = 1) -> Iterator[None]:
        """Hold places for `images` until the block ends. Raises ApiError 429 where fewer are free.

        A request takes its places once its body is complete, so that a slow body holds none.
        """
        self.check_room(images)
        self.admitted += images
        try:
            yield
        finally:
            self.admitted -= images
