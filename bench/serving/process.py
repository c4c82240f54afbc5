"""Runs a server: starts it, waits for its first answer, watches its memory, and ends all its processes."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tencrop.common.errors import WorkFailed, one_line

START_SECONDS = 120.0  # most time until the first answer
STOP_SECONDS = 5.0  # most time from SIGTERM to the end
ANSWER_SECONDS = 30.0  # most time of one answer
LOOK_SECONDS = 0.25  # between two looks at the memory
MIB = 1024  # kB, the unit of VmRSS


class ProcessTree:
    """A process and all its descendants, with their peak memory."""

    def __init__(self, root: int) -> None:
        self.root, self._most, self._ended = root, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def take_peak_mib(self) -> float:
        """Peak resident memory since the last call. Pages that two processes share count twice."""
        most, self._most = max(self._most, self._resident()), 0.0
        return most

    def processes(self) -> list[int]:
        """The ids of all processes."""
        found = [self.root]
        for process in found:
            found += [
                int(child)
                for tasks in Path(f"/proc/{process}/task").glob("*/children")
                for child in _read(tasks).split()
            ]
        return found

    def close(self) -> None:
        """Stop watching the memory."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._most = max(self._most, self._resident())

    def _resident(self) -> float:
        found = (re.search(r"VmRSS:\s+(\d+)", _read(Path(f"/proc/{process}/status"))) for process in self.processes())
        return sum(int(match[1]) for match in found if match) / MIB


def _read(path: Path) -> str:
    """The text of a file; empty if its process is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def exit_at_sigterm() -> None:
    """Let SIGTERM end this program as an error does, so that the server that runs is ended too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))


def find_free_port() -> int:
    """A TCP port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def send(port: int, request: bytes) -> tuple[int, bytes]:
    """Send one whole request; return status and body of the answer. Raises OSError or HTTPException."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
        connection.sendall(request)
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            return answer.status, answer.read()


@contextmanager
def run_server(
    command: Sequence[str], variables: Mapping[str, str], log: Path, port: int, first: bytes
) -> Iterator[ProcessTree]:
    """Run a server that has answered its `first` request. Raises WorkFailed with the last line of its log."""
    with log.open("w") as opened:
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=opened, stderr=opened, start_new_session=True
        )
    tree = ProcessTree(process.pid)
    try:
        _wait(process, log, port, first)
        yield tree
    finally:
        _end(process, tree)


def _wait(process: "subprocess.Popen[bytes]", log: Path, port: int, first: bytes) -> None:
    until, last = time.monotonic() + START_SECONDS, "no answer"
    while time.monotonic() < until:
        if process.poll() is not None:
            last_line = _read(log).strip().splitlines()[-1:]
            raise WorkFailed(f"the server ended with exit code {process.returncode}: {one_line(' '.join(last_line))}")
        try:
            status, body = send(port, first)
            if status == http.HTTPStatus.OK:
                return
            last = f"{status} {one_line(body.decode(errors='replace'))}"
        except (OSError, http.client.HTTPException) as error:
            last = one_line(error)
        time.sleep(LOOK_SECONDS)
    raise WorkFailed(f"the server was not ready within {START_SECONDS:g} s: {last}")


def _end(process: "subprocess.Popen[bytes]", tree: ProcessTree) -> None:
    """Send SIGTERM to the first process; kill all that are left after STOP_SECONDS."""
    processes = tree.processes()
    tree.close()
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in processes[1:]:
        try:
            os.kill(left, signal.SIGKILL)
        except ProcessLookupError:
            continue
