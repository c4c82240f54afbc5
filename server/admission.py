"""Admission: how many images of one model may be admitted at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from tencrop.server.errors import ApiError
from tencrop.server.shared_counts import SharedCounts

MODEST = 8  # a client with at most an eighth of the places is admitted beyond `capacity`
BEYOND = 2  # times `capacity` are never exceeded
CLIENTS = 1 << 16  # groups of clients, by the hash of their names; the clients of a group count as one


class Admission:
    """Counts one model's admitted images, in all and by client. Expensive requests count apart from cheap ones.

    At most `capacity` are admitted at once; where one client or its expensive images hold the places, up to BEYOND
    times as many. An image is admitted from the arrival of its bytes until its answer. All processes of a server count
    together, in COLUMNS of `counts` from `first` on. Used by the event loop's thread alone.
    """

    COLUMNS = 1 + 2 * CLIENTS

    def __init__(self, capacity: int, counts: SharedCounts | None = None, first: int = 0) -> None:
        self.capacity = capacity
        self._counts, self._first = counts or SharedCounts(self.COLUMNS), first

    def count_admitted(self) -> int:
        """The number of images that are admitted and not yet answered."""
        return self._counts.total(self._first)

    def check_room(self, client: str, images: int = 1, *, is_expensive: bool = False) -> None:
        """Check that `images` more can be admitted. Raises ApiError 429 where the client has no places for them."""
        held = self._counts.total(self._column(client, is_expensive))
        is_modest = held + images <= self.capacity // MODEST
        if self.count_admitted() + images > self.capacity * (BEYOND if is_modest else 1):
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
        columns = (self._first, self._column(client, is_expensive))
        with self._counts.exclusive():
            self.check_room(client, images, is_expensive=is_expensive)
            for column in columns:
                self._counts.add(column, images)
        try:
            yield
        finally:
            for column in columns:
                self._counts.add(column, -images)

    def _column(self, client: str, is_expensive: bool) -> int:
        """The column of the client's images. `hash` gives the same number in all processes: they are forks of one."""
        return self._first + 1 + 2 * (hash(client) % CLIENTS) + is_expensive
