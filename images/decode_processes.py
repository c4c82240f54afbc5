"""DecodeProcesses: processes that decode images, for the threads of one process would wait for Python's lock.

Decoding holds the lock for a sixth of its time, and an engine's thread needs it too: more than four cores are not
kept busy by threads.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from tencrop.common.errors import BadInput, WorkFailed

T = TypeVar("T")

FEW = 4  # cores that threads keep busy
ATTEMPTS = 3  # processes that may die of one call
GRACE = 5.0  # seconds in which an idle process ends by itself
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # of numpy: there is a process for each core


def choose_count(wanted: int | None, cores: int) -> int:
    """The number of processes: by default one for each core where there are more than FEW, else 0, and threads decode.

    Raises BadInput where processes are wanted and the system is not Linux.
    """
    has_memory = hasattr(os, "memfd_create")
    if wanted and not has_memory:
        raise BadInput("--workers: processes that decode need Linux", "leave the option out, and threads decode")
    if wanted is None:
        return cores if cores > FEW and has_memory else 0
    return wanted


@contextmanager
def run_in_processes(
    function: Callable[..., T], workers: int, inherited: Sequence[int] = ()
) -> Iterator[Callable[..., T]]:
    """Yield a callable that runs the function in one of so many processes; the function itself where there are none."""
    if workers:
        with closing(DecodeProcesses(function, workers, inherited)) as processes:
            yield processes
    else:
        yield function


class DecodeProcesses:
    """Processes that each run one function. Call the object from as many threads as there are processes.

    A process that dies, as of the system's lack of memory, is replaced, and the call is made again. The processes end
    when this one does, even by SIGKILL. They never see Ctrl-C, which reaches all processes of a terminal.
    """

    def __init__(self, function: Callable[..., Any], count: int, inherited: Sequence[int] = ()) -> None:
        """Start the processes. `function` is pickled; `inherited` are the descriptors that it uses."""
        self._function, self._inherited = function, inherited
        self._lock = os.memfd_create("tencrop-lock")
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._count = 0
        try:
            for _ in range(count):
                self._idle.put(self._start())
                self._count += 1
        except WorkFailed:
            self.close()
            raise

    def __call__(self, *arguments: Any) -> Any:
        """Run the function in an idle process, and return its result.

        Raises what the function raises, and WorkFailed where ATTEMPTS processes died of the call or none can start.
        """
        process = self._idle.get()
        try:
            for _ in range(ATTEMPTS):
                try:
                    result, error = process.call(arguments)
                    break
                except (EOFError, OSError):
                    code = process.end()
                    process = self._start()
            else:
                raise WorkFailed(
                    f"{ATTEMPTS} decoding processes died of the same image ({_describe_end(code)})",
                    "if memory is short, lower --workers",
                )
        finally:
            self._idle.put(process)
        if error:
            raise error
        return result

    def close(self) -> None:
        """End the processes. No call may be running."""
        processes = [self._idle.get() for _ in range(self._count)]
        for process in processes:
            process.disconnect()  # all of them first, for each takes a moment to end
        for process in processes:
            process.end()
        os.close(self._lock)

    def _start(self) -> "_Process":
        return _Process(self._function, self._lock, self._inherited)


class _Process:
    """One process and the connection to it."""

    def __init__(self, function: Callable[..., Any], lock: int, inherited: Sequence[int]) -> None:
        ours, theirs = socket.socketpair()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the process inherits the mask
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tencrop.images.decode_process", str(theirs.fileno()), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lock, *inherited),
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            )
        except OSError as error:
            ours.close()
            raise WorkFailed(f"no decoding process can be started ({error.strerror})", "lower --workers") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self._connection = Connection(ours.detach())
        self._unsent: list[Any] = [function]  # sent with the first call, so that all processes start at once

    def call(self, arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
        """Return the function's result and what it raised. Raises EOFError or OSError where the process has died."""
        for message in (*self._unsent, arguments):
            self._connection.send(message)
        self._unsent = []
        answer: tuple[Any, Exception | None] = self._connection.recv()
        return answer

    def disconnect(self) -> None:
        """Close the connection, at which the process ends."""
        with suppress(OSError):
            self._connection.close()

    def end(self) -> int:
        """Disconnect the process, wait for its end, and return its exit code."""
        self.disconnect()
        try:
            return self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _describe_end(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
