"""WorkerServer: the HTTP server of one of several workers, which share their connections evenly."""

import socket
from typing import Any

import uvicorn

from tencrop.server.connection import Connection
from tencrop.server.http_server import Server
from tencrop.server.server_counts import ServerCounts
from tencrop.server.shared_counts import SharedCount
from tencrop.server.workers.acceptor import Acceptor


class WorkerServer(Server):
    """The server of one process, but for the way in which it takes connections: by an Acceptor."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket, counts: ServerCounts) -> None:
        super().__init__(config)
        self._listening, self._counts = listening, counts

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])  # uvicorn itself listens nowhere
        self._acceptor = Acceptor(self._listening, self._counts, self._create_connection)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._acceptor.stop()
        await super().shutdown([self._listening])

    def _create_connection(self) -> "CountedConnection":
        return CountedConnection(
            self._counts.connections,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )


class CountedConnection(Connection):
    """A connection that an Acceptor has counted."""

    def __init__(self, count: SharedCount, **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._count = count

    def connection_lost(self, exc: Exception | None) -> None:
        self._count.add(-1)
        super().connection_lost(exc)
