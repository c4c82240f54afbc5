"""Shared: what all processes of a server share besides sockets: memory, locks, and the files of their metrics."""

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tencrop.common.errors import WorkFailed
from tencrop.common.lock import FileLock
from tencrop.server.loaded_model import LoadedModel
from tencrop.server.log_writer import write_logs_in_background
from tencrop.server.server_counts import ServerCounts
from tencrop.server.shared_metrics import reserve_metrics, share_metrics
from tencrop.server.workers.slots import Slots

with suppress(ImportError):  # Windows, which has no workers
    import fcntl

SUPERVISOR, ENGINE, FIRST_WORKER = range(3)  # rows of the counts
PAGE = 4096  # bytes


class Shared:
    """Made by the supervisor before it forks. `close` removes the folder; the memory ends with the processes.

    The memory is a file without a name. The engine process gives it its size, which depends on the models.
    Raises WorkFailed where the temporary directory cannot be used.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._memory = os.memfd_create("tencrop")
        self._folder = _make_folder(range(ENGINE, FIRST_WORKER + workers))
        self._held = os.open(self._folder, os.O_RDONLY)
        fcntl.flock(self._held, fcntl.LOCK_SH)  # systemd-tmpfiles removes old files, but none of a locked folder

    def join(self, row: int) -> None:
        """Begin as the process of this row: with metrics that add up, and logs that are written in turn."""
        share_metrics(self._folder, row)
        write_logs_in_background(self.open_lock("stderr"))

    def open_lock(self, name: str) -> FileLock:
        """This process's own end of a lock."""
        return FileLock(self._folder / f"{name}.lock")

    def map(self, models: Sequence[LoadedModel]) -> tuple[ServerCounts, Slots]:
        """Map the memory for these models. The kernel gives a page when it is first used."""
        rows = FIRST_WORKER + self.workers
        start = -(-ServerCounts.size(ServerCounts.columns(len(models))) * rows // PAGE) * PAGE
        size = start + Slots.count_bytes(models, self.workers)
        os.ftruncate(self._memory, size)
        memory = mmap.mmap(self._memory, size)
        return ServerCounts(len(models), rows, memory), Slots(memory, start, models)

    def close(self) -> None:
        """Remove the folder of locks and metrics."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _make_folder(rows: Iterable[int]) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix="tencrop-"))
        try:
            reserve_metrics(folder, rows)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        what = f"the workers cannot share a temporary directory ({error.strerror})"
        raise WorkFailed(what, "make room there, or name another one by TMPDIR") from None
    return folder
