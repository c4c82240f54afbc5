"""LogWriter: a logging handler that writes in its own thread, so a pipe that nobody reads delays no request."""

import logging
import os
import select
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from copy import copy

from prometheus_client import Counter
from uvicorn.logging import DefaultFormatter

from tencrop.common.terminal_text import escape_lines, escape_text

MAX_WAITING = 1 << 20  # bytes of lines that may wait for the thread; further lines are dropped
LAST_SECONDS = 1.0  # in which the lines that wait are written at the end

DROPPED = Counter("tencrop_log_lines_dropped", "log lines that nobody read", ["stream"], registry=None)

log = logging.getLogger("uvicorn.error")


class LogWriter(logging.Handler):
    """Writes log records to a file descriptor. Drops and counts lines that do not fit, and lines that fail."""

    def __init__(self, descriptor: int, stream: str, lock: AbstractContextManager[None] | None = None) -> None:
        """`lock` keeps the lines of several processes apart."""
        super().__init__()
        self._descriptor, self._stream, self._dropped = descriptor, stream, DROPPED.labels(stream)
        self._lock = lock or nullcontext()
        self._lines: list[bytes] = []
        self._size = 0  # bytes of the lines that wait or are being written
        self._changed = threading.Condition()
        self._has_failed = False
        threading.Thread(target=self._work, name=f"log to {stream}", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record's line to the thread. Never waits for a reader."""
        line = self.format(record).encode(errors="backslashreplace") + b"\n"
        with self._changed:
            if self._size + len(line) > MAX_WAITING:
                self._dropped.inc()
                return
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all lines are written, for LAST_SECONDS at most. The logging module calls this at the exit."""
        with self._changed:
            self._changed.wait_for(lambda: not self._size, LAST_SECONDS)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._lines))
                lines, self._lines = self._lines, []
            self._write(lines)
            with self._changed:
                self._size -= sum(map(len, lines))
                self._changed.notify_all()

    def _write(self, lines: list[bytes]) -> None:
        try:
            with self._lock:
                _write_all(self._descriptor, b"".join(lines))
            self._has_failed = False
        except OSError as error:
            self._dropped.inc(len(lines))
            if not self._has_failed:
                self._has_failed = True
                log.warning("%s cannot be written (%s); its lines are dropped", self._stream, error.strerror)


class StderrFormatter(DefaultFormatter):
    """Formats records as uvicorn does, with the names that a stranger chose escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        escaped = copy(record)
        escaped.__dict__.pop("color_message", None)  # the message once more, which would replace the escaped one
        escaped.message = escape_text(record.message)
        return super().formatMessage(escaped)

    def formatException(self, ei: object) -> str:
        return escape_lines(super().formatException(ei))  # type: ignore[arg-type]


def write_logs_in_background(lock: AbstractContextManager[None] | None = None) -> None:
    """Send the server's log and all warnings to stderr by a thread, from now on."""
    if not sys.stderr:  # the process was started without one
        return
    handler = LogWriter(sys.stderr.fileno(), "stderr", lock)
    handler.setFormatter(StderrFormatter("%(levelprefix)s %(message)s", use_colors=sys.stderr.isatty()))
    logging.getLogger().addHandler(handler)
    log_of_server = logging.getLogger("uvicorn")
    log_of_server.setLevel(log_of_server.level or logging.INFO)  # --quiet has set another
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of forms that are answered with 400
    logging.captureWarnings(True)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # somebody made the descriptor non-blocking
            select.select([], [descriptor], [])
