"""The supervisor: starts the engine process and the workers, replaces a worker that dies, and ends all at SIGTERM.

It has no threads of its own, so that it can fork: a worker begins with everything imported.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from types import FrameType

from tencrop.common.errors import WorkFailed
from tencrop.runtime.allocator import keep_start_objects
from tencrop.server.app import read_keys
from tencrop.server.http_server import bind, describe_address
from tencrop.server.keys import Keys
from tencrop.server.open_models import OpenModels
from tencrop.server.settings import Settings
from tencrop.server.workers.child import ENDING, describe_end, fork
from tencrop.server.workers.engine_handle import EngineHandle
from tencrop.server.workers.loaded import Loaded
from tencrop.server.workers.shared import FIRST_WORKER, SUPERVISOR, Shared
from tencrop.server.workers.worker import run_worker

LAST_SECONDS = 5.0  # beyond the time to drain; then what still runs is killed
SHORT_LIFE = 1.0  # seconds between two starts of a worker
TICK = 0.2  # seconds between two looks at the clock
MESSAGE_BYTES = 1 << 10


def serve_by_workers(workers: int, open_models: Callable[[], OpenModels], settings: Settings) -> None:
    """Serve with so many workers until SIGTERM.

    Raises BadInput, WorkFailed before the port is bound, and WorkFailed where the engine process ends.
    """
    keys = read_keys(settings)
    _catch_signals(_exit)
    shared = Shared(workers)
    try:
        _serve(open_models, settings, keys, shared)
    finally:
        shared.close()


def _serve(open_models: Callable[[], OpenModels], settings: Settings, keys: Keys | None, shared: Shared) -> None:
    engine = EngineHandle(open_models, settings, shared)
    try:
        loaded = engine.wait_until_loaded()
        listening = bind(settings)
        engine.announce(f"listening on {describe_address(listening)} with {shared.workers} workers")
        Supervisor(engine, loaded, settings, keys, shared, listening).run()
    finally:
        engine.kill()


def _catch_signals(handle: Callable[[int, FrameType | None], object]) -> None:
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` ignores SIGHUP
            signal.signal(number, handle)


def _exit(number: int, _: FrameType | None) -> None:
    """End before any worker runs, with the exit code that a shell gives to the signal."""
    raise SystemExit(128 + number)


class Supervisor:
    """Runs the workers."""

    def __init__(
        self,
        engine: EngineHandle,
        loaded: Loaded,
        settings: Settings,
        keys: Keys | None,
        shared: Shared,
        listening: socket.socket,
    ) -> None:
        self._engine, self._loaded, self._settings, self._keys = engine, loaded, settings, keys
        self._shared, self._listening = shared, listening
        self._counts, self._slots = shared.map(loaded.models)
        self._counts.take_row(SUPERVISOR, shared.open_lock("counts"))
        self._workers: dict[int, int] = {}  # number of each worker that runs, by its process
        self._started: dict[int, float] = {}  # time.monotonic, by number
        self._released = set(range(shared.workers))  # of whose last process nothing is left in the engine process
        self._killed_after: float | None = None  # time.monotonic; None until the server ends
        self._signals: list[int] = []  # that came and ask for the end
        self._wakeup, wakes = os.pipe2(os.O_NONBLOCK)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        _catch_signals(lambda number, _: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the supervisor

    def run(self) -> None:
        """Run workers until a signal comes and all have ended. Raises WorkFailed where the engine process ends."""
        keep_start_objects()  # and so they stay shared with the workers
        while self._killed_after is None or self._workers:
            if self._killed_after is None:
                self._start_workers()
            self._wait()
            if self._engine.status is not None:
                self._stop(signal.SIGTERM)
                self._end_workers()
                raise WorkFailed(f"the process of the engines {describe_end(self._engine.status)}")
        self._engine.end()
        due = time.monotonic() + self._settings.drain_seconds + LAST_SECONDS
        while self._engine.status is None and time.monotonic() < due:
            self._wait()

    def _end_workers(self) -> None:
        due = time.monotonic() + LAST_SECONDS
        while self._workers:
            if time.monotonic() > due:
                self._signal_workers(signal.SIGKILL)
            self._wait()

    def _start_workers(self) -> None:
        """Start every worker that does not run, once nothing is left of the process before it."""
        for number in self._released - set(self._workers.values()):
            if time.monotonic() - self._started.get(number, -SHORT_LIFE) >= SHORT_LIFE:
                self._start(number)

    def _start(self, number: int) -> None:
        self._started[number] = time.monotonic()
        try:
            pairs = [socket.socketpair(), socket.socketpair()]
            self._workers[self._fork(number, pairs)] = number
        except OSError as error:
            self._engine.send("warn", f"worker {number} cannot be started ({error.strerror}); it is tried again")
            return
        self._released.discard(number)
        self._engine.send("worker", number, [pair[0].fileno() for pair in pairs])
        for end in (end for pair in pairs for end in pair):
            end.close()

    def _fork(self, number: int, pairs: Sequence[tuple[socket.socket, socket.socket]]) -> int:
        """Start a worker, which has the second ends of `pairs`, and return its process. Raises OSError."""

        def run() -> None:
            self._engine.control.close()
            for pair in pairs:
                pair[0].close()
            run_worker(
                number,
                self._loaded,
                self._settings,
                self._keys,
                self._shared,
                self._counts,
                self._slots,
                self._listening,
                *(pair[1] for pair in pairs),
            )

        return fork(run)

    def _wait(self) -> None:
        """Wait for a signal, a message, the end of a process, or a moment."""
        control = self._engine.control
        ready, _, _ = select.select([self._wakeup, *filter(lambda each: each >= 0, [control.fileno()])], [], [], TICK)
        if self._wakeup in ready:
            os.read(self._wakeup, MESSAGE_BYTES)
        if control.fileno() in ready and (worker := self._engine.receive()) is not None:
            self._released.add(worker)
        self._reap()
        while self._signals:
            self._stop(self._signals.pop(0))
        if self._killed_after is not None and time.monotonic() > self._killed_after:
            self._signal_workers(signal.SIGKILL)

    def _reap(self) -> None:
        """Note every process that has ended."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._counts.add_ended_cpu(used.ru_utime + used.ru_stime)
            if pid == self._engine.pid:
                self._engine.status = status
            elif pid in self._workers:
                number = self._workers.pop(pid)
                self._counts.clear_row(FIRST_WORKER + number)
                if self._killed_after is None:
                    what = f"worker {number} (process {pid}) {describe_end(status)}; another one takes its place"
                    self._engine.send("warn", what)

    def _stop(self, number: int) -> None:
        """Begin to end. A second Ctrl-C kills the workers."""
        if self._killed_after is not None:
            if number == signal.SIGINT:
                self._signal_workers(signal.SIGKILL)
            return
        self._killed_after = time.monotonic() + self._settings.drain_seconds + LAST_SECONDS
        self._listening.close()  # else connections that no worker takes would wait
        self._engine.send("drain")
        self._signal_workers(signal.SIGTERM)

    def _signal_workers(self, number: int) -> None:
        for pid in self._workers:
            os.kill(pid, number)
