"""Lock: a file that one process at a time holds."""

import sys
from pathlib import Path
from typing import IO

from tencrop.common.errors import BadInput

LOCK = "lock"  # its name in a folder


def lock_folder(run: Path) -> IO[str]:
    """A run's folder, made where it is not there, as this process's. Raises BadInput where another is at it or it cannot be used."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        return lock_file(run / LOCK)
    except BlockingIOError:
        raise BadInput(f"{run}: another process is at this run; wait for it, or choose another --out") from None
    except OSError as error:
        raise BadInput(f"--out {run}: cannot be used ({error.strerror}); choose another folder") from None


def lock_file(file: Path) -> IO[str]:
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
