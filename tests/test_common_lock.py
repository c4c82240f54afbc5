"""common/lock.py: one process at a time, and one line for a folder that cannot be locked."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.common.lock import LOCK, lock_file, lock_folder


def test_a_second_lock_on_a_file_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    with lock_file(tmp_path / "a"), pytest.raises(BlockingIOError):
        lock_file(tmp_path / "a")
    with lock_file(tmp_path / "a"):
        pass


def test_a_folder_is_created_and_locked(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with lock_folder(folder):
        assert [path.name for path in folder.iterdir()] == [LOCK]
        with pytest.raises(BadInput) as caught:
            lock_folder(folder)
    assert caught.value.what == f"{folder}: another process uses this folder"
    with lock_folder(folder):
        pass


def test_a_process_that_ends_releases_its_lock(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from tencrop.common.lock import lock_folder"
    code += "; held = lock_folder(Path(sys.argv[1])); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    with lock_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput) as caught:
        lock_folder(tmp_path / "file" / "run")
    assert caught.value.what == f"{tmp_path}/file/run: cannot be used (Not a directory)"


def test_a_file_system_without_locks_is_an_error_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BadInput, match=r"cannot be used \(No locks available\)"):
        lock_folder(tmp_path)


def test_windows_locks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with lock_folder(tmp_path), lock_folder(tmp_path):
        pass
