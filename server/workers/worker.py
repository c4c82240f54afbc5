"""A worker: takes connections, reads requests, decodes images, and asks the engine process."""

import asyncio
import socket
from multiprocessing.connection import Connection

from tencrop.images.large_image_lock import one_large
from tencrop.runtime.cores import cores
from tencrop.server.allowed_hosts import is_loopback
from tencrop.server.app import build_app
from tencrop.server.http_server import configure
from tencrop.server.keys import Keys
from tencrop.server.metrics import Metrics
from tencrop.server.process_metrics import ProcessSum
from tencrop.server.request_log import log_requests_to_stdout
from tencrop.server.server_counts import ServerCounts
from tencrop.server.settings import Settings
from tencrop.server.state import ServerState
from tencrop.server.workers.calls import Caller
from tencrop.server.workers.loaded import Loaded
from tencrop.server.workers.remote_engines import EngineChannel, RemoteEngines
from tencrop.server.workers.shared import FIRST_WORKER, Shared
from tencrop.server.workers.slots import Slots
from tencrop.server.workers.worker_server import WorkerServer


def run_worker(
    worker: int,
    loaded: Loaded,
    settings: Settings,
    keys: Keys | None,
    shared: Shared,
    counts: ServerCounts,
    slots: Slots,
    listening: socket.socket,
    images: socket.socket,
    calls: socket.socket,
) -> None:
    """Answer requests until SIGTERM. `images` and `calls` lead to the engine process."""
    row = FIRST_WORKER + worker
    shared.join(row)
    counts.take_row(row, shared.open_lock("counts"))
    one_large.share(shared.open_lock("large"))
    if settings.access_log:
        log_requests_to_stdout(shared.open_lock("stdout"))
    images.setblocking(False)

    async def open_state() -> ServerState:
        channel = EngineChannel(worker, slots)
        await asyncio.get_running_loop().create_connection(lambda: channel, sock=images)
        engines = RemoteEngines(loaded, channel, Caller(Connection(calls.detach())))
        metrics = Metrics(ProcessSum(counts.list_processes, counts.ended_cpu_seconds))
        return ServerState(engines, settings, counts, metrics, max(1, cores() // shared.workers))

    app = build_app(open_state, settings, counts, keys, is_loopback(settings.host))
    WorkerServer(configure(app, settings), listening, counts).run()
