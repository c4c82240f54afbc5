"""Folders below --state-dir, each for one server at a time."""

from pathlib import Path
from typing import IO

from tencrop.common.errors import BadInput
from tencrop.common.lock import LOCK, lock_file

PRIVATE = 0o700  # mode of a folder that only its owner may enter


def lock_state_folder(state_dir: Path, name: str, mode: int = 0o777) -> tuple[Path, IO[str]]:
    """Create and lock a folder -> the folder, and the file that holds the lock while it is open.

    Raises BadInput where another server uses the folder, or where it cannot be used.
    """
    folder = state_dir / name
    try:
        folder.mkdir(mode, parents=True, exist_ok=True)
        lock = lock_file(folder / LOCK)
    except BlockingIOError:
        what = f"--state-dir {state_dir}: another server uses it"
        raise BadInput(what, "stop that server or choose another folder") from None
    except OSError as error:
        what = f"--state-dir {state_dir}: cannot be used ({error.strerror})"
        raise BadInput(what, "choose another folder") from None
    return folder.resolve(), lock
