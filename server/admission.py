"""Admission: how many images of one model may be admitted at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from tencrop.server.errors import ApiError
from tencrop.server.metrics import Metrics

MODEST = 8  # a client with at most an eighth of the places is admitted beyond `capacity`
BEYOND = 2  # times `capacity` are never exceeded


class Admission:
    """Counts one model's admitted images, in all and by client. Expensive requests count apart from cheap ones.

    At most `capacity` are admitted at once; where one client or its expensive images hold the places, up to BEYOND
    times as many. An image is admitted from the arrival of its bytes until its answer. Used by the event loop's thread
    alone.
    """

    def __init__(self, model: str, capacity: int, metrics: Metrics) -> None:
        self.capacity = capacity
        self.admitted = 0  # images
        self._held: Counter[tuple[str, bool]] = Counter()  # images, by client and whether the request is expensive
        metrics.watch_admitted(model, lambda: self.admitted)

    def check_room(self, client: str, images: int = 1, *, is_expensive: bool = False) -> None:
        """Check that `images` more can be admitted. Raises ApiError 429 where the client has no places for them."""
        is_modest = self._held[client, is_expensive] + images <= self.capacity // MODEST
        if self.admitted + images > self.capacity * (BEYOND if is_modest else 1):
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "queue_full",
                "too many images are waiting; try again",
                {"Retry-After": "1"},
            )

    @contextmanager
    def admit(self, client: str, images: int = 1, *, is_expensive: bool = False) -> Iterator[None]:
        """Hold places for `images` until the block ends. Raises ApiError 429 where the client can have none.

        A request takes its places once its body is complete, so that a slow body holds none.
        """
        self.check_room(client, images, is_expensive=is_expensive)
        self.admitted += images
        self._held[client, is_expensive] += images
        try:
            yield
        finally:
            self.admitted -= images
            self._held[client, is_expensive] -= images
            if not self._held[client, is_expensive]:
                del self._held[client, is_expensive]
