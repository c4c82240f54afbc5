"""Lock: a file that one process at a time holds."""

import sys
from pathlib import Path
from typing import IO

LOCK = "lock"  # its name in a folder


def locked(file: Path) -> IO[str]:
    """The file, made where it is not there, open and this process's; the kernel lets go of it when the process ends, however it does.

    Raises BlockingIOError where another process has it, another OSError where it cannot be locked.
    """
    held = file.open("a")  # NFS locks nothing that is open for reading only
    if sys.platform == "win32":
        return held
    import fcntl

    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise
    return held
