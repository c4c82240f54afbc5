"""Connections are spread evenly over the workers, and a worker that takes none holds up no other."""

import asyncio
import errno
import mmap
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, nullcontext

import pytest
import uvloop

from tencrop.server.server_counts import CONNECTIONS, ServerCounts
from tencrop.server.workers import acceptor as acceptor_file
from tencrop.server.workers.acceptor import Acceptor

Test = Callable[[], Coroutine[None, None, None]]
Check = Callable[[Test], None]
STOPPED = 2  # the row of a worker that accepts connections but takes none


class Protocol(asyncio.Protocol):
    """Counts its end, as a worker's connections do."""

    def __init__(self, counts: ServerCounts, made: list["Protocol"]) -> None:
        self._counts, self._made = counts, made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._counts.connections.add(-1)


class Workers:
    """Two workers in one process, and the rows of three."""

    def __init__(self) -> None:
        memory = mmap.mmap(-1, mmap.PAGESIZE)
        self.rows = [ServerCounts(0, 3, memory) for _ in range(3)]
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.acceptors: dict[int, Acceptor] = {}  # by row
        self.ears: list[socket.socket] = []
        self.made: list[Protocol] = []
        for row, counts in enumerate(self.rows):
            counts.take_row(row, nullcontext())

    def start(self, row: int, kind: type[socket.socket] = socket.socket) -> None:
        counts = self.rows[row]
        self.ears.append(kind(fileno=os.dup(self.listening.fileno())))  # each process has a descriptor of its own
        self.acceptors[row] = Acceptor(self.ears[-1], counts, lambda: Protocol(counts, self.made))

    async def stop(self, row: int) -> None:
        await self.acceptors.pop(row).stop()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listening.getsockname())

    def held(self) -> list[int]:
        return self.rows[0].parts(CONNECTIONS)

    async def wait_for(self, connections: int) -> list[int]:
        async with asyncio.timeout(10):
            while sum(self.held()) != connections:
                await asyncio.sleep(0.001)
        return self.held()


@asynccontextmanager
async def start(*rows: int) -> AsyncIterator[Workers]:
    workers = Workers()
    for row in rows:
        workers.start(row)
    try:
        yield workers
    finally:
        for row in list(workers.acceptors):
            await workers.stop(row)
        for each in (workers.listening, *workers.ears):
            each.close()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def check(request: pytest.FixtureRequest) -> Check:
    """Run a test in an event loop."""

    def run(test: Test) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(test())

    return run


def test_connections_that_wait_together_are_spread_evenly(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_file, "PATIENCE", 60.0)

    async def test() -> None:
        async with start(0, 1) as workers:
            with ExitStack() as clients:
                for _ in range(16):
                    clients.enter_context(workers.connect())
                assert await workers.wait_for(16) == [8, 8, 0]
            assert await workers.wait_for(0) == [0, 0, 0]

    check(test)


def test_the_worker_with_the_fewest_connections_takes_new_ones(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_file, "PATIENCE", 60.0)

    async def test() -> None:
        async with start(0) as workers:
            with ExitStack() as clients:
                for _ in range(3):
                    clients.enter_context(workers.connect())
                assert await workers.wait_for(3) == [3, 0, 0]
                workers.start(1)
                for _ in range(4):
                    clients.enter_context(workers.connect())
                held = await workers.wait_for(7)
                assert sorted(held) == [0, 3, 4]

    check(test)


def test_a_stopped_worker_holds_up_no_connection(check: Check) -> None:
    async def test() -> None:
        async with start(0) as workers:
            workers.rows[STOPPED].accepting.add(1)
            with ExitStack() as clients:
                for _ in range(5):
                    clients.enter_context(workers.connect())
                assert await workers.wait_for(5) == [5, 0, 0]

    check(test)


def test_nobody_waits_for_a_worker_that_does_not_accept(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_file, "PATIENCE", 60.0)

    async def test() -> None:
        async with start(0, 1) as workers:
            workers.rows[STOPPED].accepting.add(1)
            workers.rows[0].clear_row(STOPPED)  # as the supervisor does once it has died
            await workers.stop(1)
            with ExitStack() as clients:
                for _ in range(3):
                    clients.enter_context(workers.connect())
                assert await workers.wait_for(3) == [3, 0, 0]

    check(test)


def test_accepted_connections_have_their_protocols_once_the_acceptor_has_stopped(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_at_once = Acceptor._open

    async def open_late(self: Acceptor, accepted: socket.socket) -> None:
        await asyncio.sleep(0.01)
        await open_at_once(self, accepted)

    monkeypatch.setattr(Acceptor, "_open", open_late)

    async def test() -> None:
        async with start(0) as workers:
            with workers.connect():
                while not sum(workers.held()):
                    await asyncio.sleep(0)
                await workers.stop(0)
                assert len(workers.made) == 1

    check(test)


@pytest.mark.parametrize(("seconds", "tries"), [(0.01, 3), (60.0, 1)], ids=["later", "not at once"])
def test_a_connection_without_a_file_descriptor_is_tried_again(
    check: Check, monkeypatch: pytest.MonkeyPatch, seconds: float, tries: int
) -> None:
    monkeypatch.setattr(acceptor_file, "SHORTAGE_SECONDS", seconds)
    tried: list[socket.socket] = []

    class Ear(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            tried.append(self)
            if len(tried) < 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    async def test() -> None:
        async with start() as workers:
            workers.start(0, Ear)
            with workers.connect():
                while len(tried) < tries:
                    await asyncio.sleep(0)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert len(tried) == tries and sum(workers.held()) == tries // 3

    check(test)
