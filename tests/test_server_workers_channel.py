"""WorkerChannel: what the queue of the engine process gets from the workers."""

import asyncio
from types import SimpleNamespace

import numpy as np

from tencrop.server.waiting import Waiting
from tencrop.server.workers.records import ASK, ASKING, Asking
from tencrop.server.workers.worker_channel import WorkerChannel


def test_requests_of_different_workers_take_turns_whatever_their_numbers() -> None:
    """Each worker counts its requests from zero. Numbers below zero come from ids, and labels are found by them."""
    queued: list[Waiting] = []
    slots = SimpleNamespace(pixels=lambda *_: np.zeros((2, 2, 3), np.uint8), choices=[[]])

    async def ask() -> None:
        for worker in range(2):
            channel = WorkerChannel(worker, slots, [SimpleNamespace(put=queued.extend)], print)  # type: ignore
            for slot, number in enumerate((0, 7, 7, -7)):
                channel.data_received(ASKING.pack(*Asking(ASK, 0, 0, slot, 99, number, 0.0)))

    asyncio.run(ask())
    requesters = [waiting.requester for waiting in queued]
    assert {requester.client for requester in requesters} == {"99"}
    zero, seven, again, by_id = zip(requesters[:4], requesters[4:], strict=True)
    assert len({*zero, *seven}) == 4 and seven == again
    assert {requester.number for requester in by_id} == {-7}
