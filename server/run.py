"""`tencrop serve`: opens and checks the models, then binds the port, then answers until SIGTERM or Ctrl-C."""

import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.common.extras import require
from tencrop.images.heif_open import decode_in_one_thread
from tencrop.images.pillow_warnings import silence_libtiff
from tencrop.runtime.allocator import give_back_large_blocks, keep_start_objects
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.allowed_hosts import is_loopback
from tencrop.server.app import create_app
from tencrop.server.http_server import bind, describe_address, run_server
from tencrop.server.log_writer import write_logs_in_background
from tencrop.server.open_models import open_models
from tencrop.server.open_spans import check_spans
from tencrop.server.repository import find_repository
from tencrop.server.request_log import log_requests_to_stdout
from tencrop.server.settings import Settings
from tencrop.server.workers.number import count_workers
from tencrop.server.workers.supervisor import serve_by_workers

USER_SIGNALS: list[int] = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
ONE_PROCESS = {  # settings that workers do not know: flag, and what it is
    "grpc_port": ("--grpc-port", "gRPC"),
    "model_repository": ("--model-repository", "a repository"),
}

log = logging.getLogger("uvicorn.error")


def serve(paths: Sequence[Path], options: EngineOptions, ensembles: Sequence[str], settings: Settings) -> None:
    """Serve models until SIGTERM: files (none: the embedded model) and ensembles "NAME=A,B" of their models.

    Each model runs on every device of `options.device`, such as "cuda:0,cuda:1".
    Raises BadInput, WorkFailed before the port is bound.
    """
    check_spans(settings)
    _ignore_user_signals()
    give_back_large_blocks()
    silence_libtiff()
    decode_in_one_thread()
    repository = find_repository(settings, options)
    if workers := _count_workers(settings, options.device):
        serve_by_workers(workers, lambda: open_models(paths, options, ensembles, settings), settings)
        return
    models = open_models(paths, options, ensembles, settings, repository.files if repository else {})
    write_logs_in_background()
    app = create_app(models.served, settings, is_loopback(settings.host), models.shadow, repository)
    if settings.access_log:
        log_requests_to_stdout()
    listening = bind(settings)
    for model in models.served:
        engine = model.engine
        log.info("%s: %s on %s, %s, answers its probe", model.name, engine.name, engine.device, engine.precision)
    log.info("listening on %s", describe_address(listening))
    keep_start_objects()
    run_server(app, settings, listening)


def _count_workers(settings: Settings, device: str) -> int:
    """The number of workers; none beside a gRPC port or a repository.

    Raises BadInput, and WorkFailed without the extra `grpc`.
    """
    if settings.grpc_port is not None:
        require("grpc")
    alone = [words for name, words in ONE_PROCESS.items() if getattr(settings, name) is not None]
    if not alone:
        return count_workers(settings.workers, device)
    if settings.workers:
        flag, what = alone[0]
        raise BadInput(f"{flag} with --workers {settings.workers}: {what} needs one process", "give --workers 0")
    return 0


def _ignore_user_signals() -> None:
    """Ignore the signals at which other servers open their logs anew."""
    for number in USER_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
