"""EngineHandle: the supervisor's side of the engine process."""

import os
import pickle
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

from tencrop.common.errors import TencropError, WorkFailed
from tencrop.server.open_models import OpenModels
from tencrop.server.settings import Settings
from tencrop.server.workers.child import ENDING, describe_end, fork
from tencrop.server.workers.engine_process import run_engine_process
from tencrop.server.workers.loaded import Loaded
from tencrop.server.workers.shared import Shared

MESSAGE_BYTES = 1 << 10


class EngineHandle:
    """The supervisor's side of the engine process."""

    def __init__(self, open_models: Callable[[], OpenModels], settings: Settings, shared: Shared) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._report, report = Pipe(duplex=False)
        self.status: int | None = None  # once it has ended

        def run() -> None:
            self.control.close()
            run_engine_process(open_models, settings, shared, report, theirs)

        try:
            self.pid = fork(run, ignored=ENDING)
        except OSError as error:
            raise WorkFailed(f"cannot start a process ({error.strerror})", "raise `ulimit -u`") from None
        theirs.close()
        report.close()

    def wait_until_loaded(self) -> Loaded:
        """Wait until all models answer. Raises the error that the process met, WorkFailed where it ended without."""
        try:
            loaded: Loaded | TencropError = self._report.recv()
        except EOFError:
            _, self.status = os.waitpid(self.pid, 0)
            raise WorkFailed(f"the process of the engines {describe_end(self.status)}") from None
        if isinstance(loaded, TencropError):
            raise loaded
        return loaded

    def send(self, name: str, argument: object = None, descriptors: Sequence[int] = ()) -> None:
        """Send a message. Nothing happens where the process has ended; its end is noticed otherwise."""
        with suppress(OSError):
            socket.send_fds(self.control, [pickle.dumps((name, argument))], descriptors)

    def announce(self, text: str) -> None:
        """Let the process log a text, and wait until it has, so that the line comes before those of the workers."""
        self.send("say", text)
        self.receive()

    def receive(self) -> Any:
        """Wait for the process's next message: the number of a worker of which nothing is left, or the name "say".

        Returns None where the process has ended.
        """
        with suppress(OSError):
            if data := self.control.recv(MESSAGE_BYTES):
                return pickle.loads(data)
        return None

    def end(self) -> None:
        """Let the process end: it closes the validations and then its engines."""
        self.control.close()

    def kill(self) -> None:
        """End the process at once, if it has not ended."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
