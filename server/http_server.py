"""The HTTP server around an application: a bound socket, uvicorn, and the signals that end it."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.server.connection import Connection
from tencrop.server.descriptors import WATCH
from tencrop.server.settings import Settings

if TYPE_CHECKING:
    from tencrop.server.oip_grpc.service import GrpcService

BACKLOG = 2048  # connections that may wait until a process accepts them
TICKS = 10  # a second, of uvicorn's server
LAST_SECONDS = 1.0  # in which gRPC calls may end that the drain has answered
HANGUP: int | None = getattr(signal, "SIGHUP", None)  # Windows lacks it

log = logging.getLogger("uvicorn.error")


class Server(uvicorn.Server):
    """uvicorn's server, which at SIGTERM starts the drain, answers the admitted requests and exits with code 0.

    SIGHUP, which a terminal sends when it closes, does the same; `nohup` keeps it away. With `grpc_settings`
    a gRPC service starts and ends with the server.
    """

    grpc: "GrpcService | None" = None
    grpc_settings: Settings | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.grpc_settings:
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's core writes to stderr past the log
            from tencrop.server.oip_grpc.service import GrpcService  # needs the extra `grpc`

            self.grpc = GrpcService(self.config.app, self.grpc_settings, self.server_state.tasks)  # type: ignore[arg-type]
            log.info("listening on grpc://%s", self.grpc.bind())
        await super().startup(sockets)
        if self.grpc and self.started:
            await self.grpc.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.grpc:
            await self.grpc.stop(LAST_SECONDS)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            if HANGUP and signal.getsignal(HANGUP) is not signal.SIG_IGN:
                signal.signal(HANGUP, self.handle_exit)
            yield
            self._captured_signals.clear()  # else uvicorn raises them again and the process exits with 143

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS == 0:
            WATCH.check()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.started:
            self.config.app.state.server_state.drain()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)


def run_server(app: FastAPI, settings: Settings, listening: socket.socket) -> None:
    """Answer requests until SIGTERM, SIGINT or SIGHUP."""
    server = Server(configure(app, settings))
    if settings.grpc_port is not None:
        server.grpc_settings = settings
    server.run([listening])


def configure(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration."""
    return uvicorn.Config(
        app,
        http=Connection,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.drain_seconds,
        server_header=False,
        ws="none",
        access_log=False,
        log_config=None,
    )


def bind(settings: Settings) -> socket.socket:
    """Bind the server's address. Raises BadInput, WorkFailed."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except (socket.gaierror, UnicodeError):  # UnicodeError: the name has an empty label, or a label that is too long
        raise BadInput(f"--host {settings.host}: not an address of this machine") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        what = f"cannot listen on {settings.host}:{settings.port} ({why})"
        raise WorkFailed(what, "choose another --port or --host") from None


def describe_address(listening: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
