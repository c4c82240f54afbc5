"""A server in its own processes: started, asked until it answers, watched for its memory, ended with all that it started."""

import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tencrop.common.errors import WorkFailed, one_line

START_SECONDS = 120.0  # that a server may take until it answers
STOP_SECONDS = 5.0
ANSWER_SECONDS = 30.0
LOOK_SECONDS = 0.25  # between two looks at the memory
MIB = 1024  # in the kernel's kibibytes


class Tree:
    """A process and all that it started, with the most memory that they had at once."""

    def __init__(self, root: int) -> None:
        self.root, self._most, self._ended = root, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def most_mib(self) -> float:
        """Resident, since the last call; pages that two processes share count in both."""
        most, self._most = max(self._most, self._resident()), 0.0
        return most

    def processes(self) -> list[int]:
        """Their ids."""
        found = [self.root]
        for process in found:
            found += [
                int(child)
                for tasks in Path(f"/proc/{process}/task").glob("*/children")
                for child in _read(tasks).split()
            ]
        return found

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._most = max(self._most, self._resident())

    def _resident(self) -> float:
        found = (re.search(r"VmRSS:\s+(\d+)", _read(Path(f"/proc/{process}/status"))) for process in self.processes())
        return sum(int(match[1]) for match in found if match) / MIB


def _read(path: Path) -> str:
    """Empty where the process is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def free_port() -> int:
    """One that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def ask(port: int, request: bytes) -> tuple[int, bytes]:
    """Send one whole request: the answer's status and body. Raises OSError or HTTPException."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
        connection.sendall(request)
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            return answer.status, answer.read()


@contextmanager
def running(command: Sequence[str], variables: Mapping[str, str], log: Path, port: int, first: bytes) -> Iterator[Tree]:
    """A server that has answered its `first` request. Raises WorkFailed, with the last line of its log."""
    with log.open("w") as opened:
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=opened, stderr=opened, start_new_session=True
        )
    tree = Tree(process.pid)
    try:
        _wait(process, log, port, first)
        yield tree
    finally:
        _end(process, tree)


def _wait(process: "subprocess.Popen[bytes]", log: Path, port: int, first: bytes) -> None:
    until, last = time.monotonic() + START_SECONDS, "no answer"
    while time.monotonic() < until:
        if process.poll() is not None:
            said = _read(log).strip().splitlines()[-1:]
            raise WorkFailed(f"it ended with exit code {process.returncode}: {one_line(' '.join(said))}")
        try:
            status, body = ask(port, first)
            if status == http.HTTPStatus.OK:
                return
            last = f"{status} {one_line(body.decode(errors='replace'))}"
        except (OSError, http.client.HTTPException) as error:
            last = one_line(error)
        time.sleep(LOOK_SECONDS)
    raise WorkFailed(f"not ready within {START_SECONDS:g} s: {last}")


def _end(process: "subprocess.Popen[bytes]", tree: Tree) -> None:
    """SIGTERM to the first; what is left of them after a while is killed."""
    everyone = tree.processes()
    tree.close()
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in everyone[1:]:
        try:
            os.kill(left, signal.SIGKILL)
        except ProcessLookupError:
            continue
