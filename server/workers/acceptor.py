"""Acceptor: takes a worker's share of the connections that wait at the socket of all workers.

A worker that is awake could take all connections that arrive together, and clients that keep them would leave the other
workers idle. So a worker leaves a connection to the workers that have fewer.
"""

import asyncio
import errno
import select
import socket
from collections.abc import Callable

from tencrop.server.server_counts import ServerCounts

PATIENCE = 0.01  # seconds for which a connection is left to others, which may be busy or stopped
LOOK = 0.001  # seconds between two looks whether they have taken it
SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SHORTAGE_SECONDS = 1.0  # until the next try


class Acceptor:
    """Accepts connections from now on, and counts each in `counts.connections`. Its protocol must count its end."""

    def __init__(
        self, listening: socket.socket, counts: ServerCounts, create_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listening, self._counts, self._create_protocol = listening, counts, create_protocol
        self._loop = asyncio.get_running_loop()
        self._waiting = select.poll()
        self._waiting.register(listening, select.POLLIN)
        self._opening: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        counts.accepting.add(1)
        self._task = self._loop.create_task(self._run())

    async def stop(self) -> None:
        """Accept no more, and wait until each accepted connection has its protocol."""
        self._counts.accepting.add(-1)
        self._task.cancel()
        await asyncio.wait([self._task, *self._opening])

    async def _run(self) -> None:
        while True:
            await self._wait_for_connection()
            await self._leave_to_others()
            try:
                accepted, _ = self._listening.accept()
            except OSError as error:  # mostly BlockingIOError: another worker has taken it
                if error.errno in SHORTAGE:
                    await asyncio.sleep(SHORTAGE_SECONDS)
                continue
            self._counts.connections.add(1)
            opening = self._loop.create_task(self._open(accepted))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _wait_for_connection(self) -> None:
        """Wait until a connection waits."""
        readable = asyncio.Event()
        self._loop.add_reader(self._listening, readable.set)
        try:
            await readable.wait()
        finally:
            self._loop.remove_reader(self._listening)

    async def _leave_to_others(self) -> None:
        """Wait while workers with fewer connections may take the one that waits."""
        due = self._loop.time() + PATIENCE
        while self._counts.have_others_fewer_connections() and self._waiting.poll(0) and self._loop.time() < due:
            await asyncio.sleep(LOOK)

    async def _open(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._create_protocol, accepted)
        except OSError:  # the client has left
            self._counts.connections.add(-1)
            accepted.close()
