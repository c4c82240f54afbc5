"""`tencrop serve`: prove the models, then bind the port, then answer until SIGTERM or Ctrl-C."""

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import uvicorn

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.allocator import give_back_large_blocks
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.runtime.ensemble import Ensemble, Predictor
from tencrop.server.app import create_app
from tencrop.server.batcher import warm_up
from tencrop.server.head_limits import HeadLimits
from tencrop.server.request_log import log_to_stdout
from tencrop.server.settings import Settings

BACKLOG = 2048  # connections that may wait to be accepted

log = logging.getLogger("uvicorn.error")


class Server(uvicorn.Server):
    """uvicorn that says it is draining, and ends with exit code 0 on SIGTERM once what it admitted is answered."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()  # else uvicorn raises them again and the process exits with 143

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.started:
            self.config.app.state.server_state.drain()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)


def serve(paths: Sequence[Path], options: EngineOptions, ensembles: Sequence[str], settings: Settings) -> None:
    """Serve these files, the embedded one where none is named, and ensembles "NAME=A,B" of them, each on every device of "cuda:0,cuda:1".

    Raises BadInput, WorkFailed before anything listens.
    """
    give_back_large_blocks()
    devices = [replace(options, device=device) for device in options.device.split(",")]
    models = [model for device in devices for model in _opened(paths or (EMBEDDED,), ensembles, device)]
    for model in models:
        warm_up(model, settings.forward_images(model))
    app = create_app(models, settings)
    if settings.access_log:
        log_to_stdout()
    config = uvicorn.Config(
        app,
        http=HeadLimits,
        timeout_graceful_shutdown=settings.drain_seconds,
        server_header=False,
        ws="none",
        access_log=False,
    )
    listening = _bind(settings)
    for model in models:
        engine = model.engine
        log.info("%s: %s on %s, %s, answers its probe", model.name, engine.name, engine.device, engine.precision)
    host, port = listening.getsockname()[:2]
    log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    Server(config).run([listening])


def _opened(paths: Sequence[Path], ensembles: Sequence[str], options: EngineOptions) -> list[Predictor]:
    """The models on one device, the ensembles last, whose members are sessions of their own. Raises BadInput, WorkFailed."""
    models: list[Predictor] = [open_classifier(path, options) for path in paths]
    by_name = {model.name: path for model, path in zip(models, paths, strict=True)}
    for text in ensembles:
        name, _, members = text.partition("=")
        wanted = members.split(",")
        unknown = [member for member in wanted if member not in by_name]
        if not name or unknown:
            raise BadInput(f"--ensemble {text}: expected NAME=A,B with served models; served are {', '.join(by_name)}")
        models.append(Ensemble(name, tuple(open_classifier(by_name[member], options) for member in wanted)))
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise BadInput(f"two models are named {max(names, key=names.count)!r}; rename a file")
    return models


def _bind(settings: Settings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except (socket.gaierror, UnicodeError):  # the latter for what no name can be: an empty label, or a long one
        raise BadInput(f"--host {settings.host}: not an address of this machine") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise WorkFailed(
            f"cannot listen on {settings.host}:{settings.port} ({why}); choose another --port or --host"
        ) from None
