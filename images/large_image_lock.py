"""Lets one large image be decoded at a time, which bounds the memory."""

import threading


class LargeImageLock:
    """A lock for the threads of this process, and of every other process that shares its file.

    The system frees what a process holds when the process dies, however it dies.
    """

    def __init__(self) -> None:
        self._threads = threading.Lock()
        self._descriptor: int | None = None

    def share(self, descriptor: int) -> None:
        """Also wait for the other processes that share this open file. Needs POSIX."""
        self._descriptor = descriptor

    def __enter__(self) -> None:
        self._threads.acquire()
        if self._descriptor is not None:
            import fcntl  # not on Windows

            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        if self._descriptor is not None:
            import fcntl

            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()


one_large = LargeImageLock()
