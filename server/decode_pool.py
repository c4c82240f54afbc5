"""DecodePool: the threads that decode images, so that the event loop never does."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from tencrop.images.decode import ImageInfo, decode
from tencrop.images.decode_cost import CHEAP
from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract
from tencrop.runtime.cores import cores
from tencrop.server.requester import Requester
from tencrop.server.turns import Turns

T = TypeVar("T")


class _Lane:
    """The calls of one kind, cheap or expensive: those that wait for their turn, and how many run."""

    def __init__(self) -> None:
        self.turns: Turns[asyncio.Future[None]] = Turns()
        self.running = 0


class DecodePool:
    """A thread for each core and one more. Cheap calls and expensive calls each have a thread that the others leave.

    Clients and their requests take turns in each lane. Used by the event loop's thread alone.
    """

    def __init__(self, decoders: int | None = None) -> None:
        self._lane_threads = decoders or cores()  # at most, of one lane
        self._threads = ThreadPoolExecutor(self._lane_threads + 1, "decode")
        self._cheap, self._expensive = _Lane(), _Lane()

    async def decode(
        self, data: bytes, contract: Contract, requester: Requester, cost: float
    ) -> tuple[np.ndarray, ImageInfo]:
        """An encoded image -> uint8 [R,R,3] and its description. Raises ImageError."""
        return await self.run(requester, cost, _decode, data, contract)

    async def run(self, requester: Requester, cost: float, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in a thread once it is the requester's turn. `cost` is in units of `estimate_cost`.

        A call whose caller is cancelled leaves the queue. A call that runs keeps its thread until it ends.
        """
        lane = self._cheap if cost <= CHEAP else self._expensive
        await self._wait_for_turn(lane, requester, cost)
        call = asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        call.add_done_callback(lambda _: self._end_turn(lane))
        return await asyncio.shield(call)

    def close(self) -> None:
        """Wait for the images that are being decoded; drop those that are not."""
        self._threads.shutdown(cancel_futures=True)

    async def _wait_for_turn(self, lane: _Lane, requester: Requester, cost: float) -> None:
        if not lane.turns and self._has_thread(lane):
            lane.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.turns.put(requester, turn, cost)
        try:
            await turn
        except asyncio.CancelledError:
            lane.turns.remove(requester, turn)
            if turn.done() and not turn.cancelled():  # the turn came at the same moment
                self._end_turn(lane)
            raise

    def _has_thread(self, lane: _Lane) -> bool:
        running = self._cheap.running + self._expensive.running
        return lane.running < self._lane_threads and running < self._lane_threads + 1

    def _end_turn(self, lane: _Lane) -> None:
        lane.running -= 1
        for each in (self._cheap, self._expensive):
            while each.turns and self._has_thread(each):
                turn = each.turns.take()
                if not turn.done():  # else cancelled
                    each.running += 1
                    turn.set_result(None)


def _decode(data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
    """`decode`, whose errors hold no frames: those hold pixels, and an error waits for the other images of a form."""
    try:
        return decode(data, contract)
    except ImageError as error:
        error.__context__ = None
        raise error.with_traceback(None) from None
