"""`tencrop serve`: prove the models, then bind the port, then answer until SIGTERM or Ctrl-C."""

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from model.classifier import open_classifier
from model.engine import EngineOptions
from model.errors import BadInput, WorkFailed
from server.app import create_app
from server.settings import Settings

EMBEDDED = Path(__file__).parent / "models" / "caltech101" / "tencrop.onnx"
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
            self.config.app.state.serving.drain()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)


def serve(models: Sequence[Path], options: EngineOptions, settings: Settings) -> None:
    """Serve these files, the embedded one where none is named. Raises BadInput, WorkFailed before anything listens."""
    classifiers = [open_classifier(path, options) for path in models or (EMBEDDED,)]
    names = [classifier.name for classifier in classifiers]
    if len(set(names)) < len(names):
        raise BadInput(f"two models are named {max(names, key=names.count)!r}; rename a file")
    app = create_app(classifiers, settings)
    config = uvicorn.Config(app, timeout_graceful_shutdown=settings.drain_seconds, server_header=False, ws="none")
    listening = _bind(settings)
    for classifier in classifiers:
        engine = classifier.engine
        log.info("%s: %s on %s, %s, answers its probe", classifier.name, engine.name, engine.device, engine.precision)
    host, port = listening.getsockname()[:2]
    log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    Server(config).run([listening])


def _bind(settings: Settings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except socket.gaierror:
        raise BadInput(f"--host {settings.host}: not an address of this machine") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise WorkFailed(f"cannot listen on {settings.host}:{settings.port} ({why}); choose another --port or --host") from None
