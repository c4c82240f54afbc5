"""Records that a worker and the engine process send each other. All have a fixed size; images lie in slots."""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

ASK, LEAVE = range(2)  # kinds of an Asking: a new image; its client has left
ANSWERED, NO_ANSWER, FAILED, LEFT = range(4)  # statuses of an Answered; the slot is free again after each


class Asking(NamedTuple):
    """From a worker: what happens to the image in a slot."""

    kind: int
    features: int  # 0: none; else one more than the place of a FeatureChoice among the model's
    model: int  # its number
    slot: int
    client: int  # the hash of the client's name
    number: int  # of the request, in its worker
    since: float  # time.perf_counter, which is one clock for all processes


class Answered(NamedTuple):
    """From the engine process: the answer lies in the slot, or there will be none."""

    status: int
    slot: int
    queue_seconds: float
    engine_seconds: float


ASKING, ANSWER = Struct("<BBHIqqd"), Struct("<BxxxIdd")


class Parts:
    """Cuts a stream of bytes into its records."""

    def __init__(self, form: Struct) -> None:
        self._form, self._rest = form, b""

    def feed(self, data: bytes) -> Iterator[tuple[float, ...]]:
        """The fields of each record that is complete."""
        data = self._rest + data
        whole = len(data) // self._form.size * self._form.size
        self._rest = data[whole:]
        return self._form.iter_unpack(data[:whole])
