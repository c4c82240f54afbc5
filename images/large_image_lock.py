"""Lets one large image be decoded at a time, which bounds the memory."""

import threading
from contextlib import AbstractContextManager, nullcontext


class LargeImageLock:
    """A lock for the threads of this process, and of every other process that shares a lock with it."""

    def __init__(self) -> None:
        self._threads = threading.Lock()
        self._processes: AbstractContextManager[None] = nullcontext()

    def share(self, lock: AbstractContextManager[None]) -> None:
        """Also wait for other processes: `lock` is this one's end of a lock of theirs (common/lock.py:FileLock)."""
        self._processes = lock

    def __enter__(self) -> None:
        self._threads.acquire()
        self._processes.__enter__()

    def __exit__(self, *error: object) -> None:
        self._processes.__exit__(None, None, None)
        self._threads.release()


one_large = LargeImageLock()
