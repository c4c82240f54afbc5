"""Calls of functions of the engine process by its workers: everything rare, such as what is asked about validations.

Both ends are processes of one server, forked from one program, so values pass as pickles.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from tencrop.server.errors import ApiError, internal_error, shutting_down_error

log = logging.getLogger("uvicorn.error")


class Caller:
    """A worker's end. Safe to use from several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def call(self, name: str, *arguments: object) -> Any:
        """Call a function of the engine process. Raises the ApiError that it raises, and 503 once it has ended."""
        with self._lock:
            try:
                self._connection.send((name, arguments))
                error, value = self._connection.recv()
            except (EOFError, OSError):
                raise shutting_down_error() from None
        if error:
            raise error
        return value


def answer_calls(connection: Connection, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Answer a worker's calls in a thread, until the worker ends."""

    def answer() -> None:
        while True:
            try:
                name, arguments = connection.recv()
                connection.send(_call(functions[name], arguments))
            except (EOFError, OSError):
                connection.close()
                return

    threading.Thread(target=answer, name="calls of a worker", daemon=True).start()


def _call(function: Callable[..., Any], arguments: tuple[object, ...]) -> tuple[ApiError | None, Any]:
    try:
        return None, function(*arguments)
    except ApiError as error:
        return error, None
    except Exception:
        log.exception("a call of a worker failed")
        return internal_error(), None
