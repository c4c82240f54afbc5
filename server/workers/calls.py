"""Calls of functions of the engine process by its workers: everything rare, such as what is asked about validations.

Both ends are processes of one server, forked from one program, so values pass as pickles. Calls run beside each other:
one that waits for a folder of a network, or a database, holds up no other one.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from tencrop.server.errors import ApiError, internal_error, shutting_down_error

log = logging.getLogger("uvicorn.error")


class Caller:
    """A worker's end. Safe to use from several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._sending = connection, threading.Lock()
        self._numbers = itertools.count()
        self._answers: dict[int, Future[Any]] = {}  # of the calls that run, by their numbers
        threading.Thread(target=self._receive, name="answers to calls", daemon=True).start()

    def call(self, name: str, *arguments: object) -> Any:
        """Call a function of the engine process. Raises the ApiError that it raises, and 503 once it has ended."""
        number, answer = next(self._numbers), Future[Any]()
        self._answers[number] = answer
        try:
            with self._sending:
                self._connection.send((number, name, arguments))
        except OSError:
            raise shutting_down_error() from None
        return answer.result()

    def _receive(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                number, error, value = self._connection.recv()
                answer = self._answers.pop(number)
                if error:
                    answer.set_exception(error)
                else:
                    answer.set_result(value)
        for answer in list(self._answers.values()):
            answer.set_exception(shutting_down_error())


def answer_calls(connection: Connection, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Answer a worker's calls in threads, until the worker ends."""
    sending = threading.Lock()

    def receive() -> None:
        with connection, suppress(EOFError, OSError):
            while True:
                threading.Thread(target=answer, args=connection.recv(), name="a call", daemon=True).start()

    def answer(number: int, name: str, arguments: tuple[object, ...]) -> None:
        answered = _call(functions[name], arguments)
        with sending, suppress(OSError):  # the worker has ended
            connection.send((number, *answered))

    threading.Thread(target=receive, name="calls of a worker", daemon=True).start()


def _call(function: Callable[..., Any], arguments: tuple[object, ...]) -> tuple[ApiError | None, Any]:
    try:
        return None, function(*arguments)
    except ApiError as error:
        return error, None
    except Exception:
        log.exception("a call of a worker failed")
        return internal_error(), None
