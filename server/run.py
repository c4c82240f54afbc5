"""`tencrop serve`: opens and checks the models, then binds the port, then answers until SIGTERM or Ctrl-C."""

import logging
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import uvicorn

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.images.pillow_warnings import silence_libtiff
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.allocator import give_back_large_blocks
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.runtime.ensemble import Ensemble, Predictor
from tencrop.server.allowed_hosts import is_loopback
from tencrop.server.app import create_app
from tencrop.server.batcher import warm_up
from tencrop.server.connection import Connection
from tencrop.server.descriptors import WATCH
from tencrop.server.log_writer import write_logs_in_background
from tencrop.server.request_log import log_requests_to_stdout
from tencrop.server.settings import Settings

BACKLOG = 2048  # connections that may wait until the process accepts them
TICKS = 10  # a second, of uvicorn's server
HANGUP: int | None = getattr(signal, "SIGHUP", None)  # Windows lacks these signals
USER_SIGNALS: list[int] = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]

log = logging.getLogger("uvicorn.error")


class Server(uvicorn.Server):
    """uvicorn's server, which at SIGTERM starts the drain, answers the admitted requests and exits with code 0.

    SIGHUP, which a terminal sends when it closes, does the same; `nohup` keeps it away. SIGUSR1 and SIGUSR2, at which
    other servers open their logs anew, do nothing.
    """

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


def serve(paths: Sequence[Path], options: EngineOptions, ensembles: Sequence[str], settings: Settings) -> None:
    """Serve models until SIGTERM: files (none: the embedded model) and ensembles "NAME=A,B" of their models.

    Each model runs on every device of `options.device`, such as "cuda:0,cuda:1".
    Raises BadInput, WorkFailed before the port is bound.
    """
    _ignore_user_signals()
    give_back_large_blocks()
    silence_libtiff()
    devices = [replace(options, device=device) for device in options.device.split(",")]
    models = [model for device in devices for model in _open_models(paths or (EMBEDDED,), ensembles, device)]
    for model in models:
        warm_up(model, settings.forward_images(model))
    write_logs_in_background()
    app = create_app(models, settings, is_loopback(settings.host))
    if settings.access_log:
        log_requests_to_stdout()
    config = uvicorn.Config(
        app,
        http=Connection,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.drain_seconds,
        server_header=False,
        ws="none",
        access_log=False,
        log_config=None,
    )
    listening = _bind(settings)
    for model in models:
        engine = model.engine
        log.info("%s: %s on %s, %s, answers its probe", model.name, engine.name, engine.device, engine.precision)
    host, port = listening.getsockname()[:2]
    log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    Server(config).run([listening])


def _ignore_user_signals() -> None:
    for number in USER_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _open_models(paths: Sequence[Path], ensembles: Sequence[str], options: EngineOptions) -> list[Predictor]:
    """Open models, then ensembles of them, on one device. Members are opened anew. Raises BadInput, WorkFailed."""
    models: list[Predictor] = [open_classifier(path, options) for path in paths]
    by_name = {model.name: path for model, path in zip(models, paths, strict=True)}
    for text in ensembles:
        name, _, members = text.partition("=")
        wanted = members.split(",")
        unknown = [member for member in wanted if member not in by_name]
        if not name or unknown:
            what = f"--ensemble {text}: expected NAME=A,B with served models"
            raise BadInput(what, did_you_mean("".join(unknown[:1]), by_name, f"served are {', '.join(by_name)}"))
        models.append(Ensemble(name, tuple(open_classifier(by_name[member], options) for member in wanted)))
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise BadInput(f"two models are named {max(names, key=names.count)!r}", "rename a file")
    return models


def _bind(settings: Settings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except (socket.gaierror, UnicodeError):  # UnicodeError: the name has an empty label, or a label that is too long
        raise BadInput(f"--host {settings.host}: not an address of this machine") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        what = f"cannot listen on {settings.host}:{settings.port} ({why})"
        raise WorkFailed(what, "choose another --port or --host") from None
