"""LastingServer: a server of grpc.aio, and another one in its place where it ends by itself.

grpcio's server ends at the first call whose method is not UTF-8, and anybody may send one.
"""

import asyncio
import logging
from collections.abc import Callable

import grpc

from tencrop.common.errors import one_line

LOOK_SECONDS = 0.2  # between two looks whether the server has ended, and between two tries to bind its port again

log = logging.getLogger("uvicorn.error")


class LastingServer:
    """Listens on `address`, host:port, with the servers that `open_server` makes.

    Calls of a server that has ended have so many `seconds`. Raises RuntimeError where the port cannot be bound.
    """

    def __init__(self, open_server: Callable[[], grpc.aio.Server], address: str, seconds: float) -> None:
        self._open_server, self._seconds = open_server, seconds
        self._server = open_server()
        host, port = address.rpartition(":")[0], self._server.add_insecure_port(address)
        self.address = f"{host}:{port}"  # with the port that was taken for 0
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Answer calls from now on."""
        await self._server.start()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self, seconds: float) -> None:
        """End: calls that run have so many seconds."""
        self._watching.cancel()
        for ending in self._ending:
            ending.cancel()
        await self._server.stop(seconds)

    async def _watch(self) -> None:
        while True:
            try:
                while await self._server.wait_for_termination(LOOK_SECONDS):  # until it has ended
                    pass
                return
            except Exception as error:  # what has ended it
                log.warning("the gRPC server ended (%s); another one takes its place", one_line(error))
            await self._replace()

    async def _replace(self) -> None:
        ended, self._server = self._server, self._open_server()
        while not self._bind():
            await asyncio.sleep(LOOK_SECONDS)
        await self._server.start()
        ending = asyncio.create_task(ended.stop(self._seconds))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _bind(self) -> bool:
        """Bind the port again. Returns whether it was free."""
        try:
            self._server.add_insecure_port(self.address)
        except RuntimeError:
            return False
        return True
