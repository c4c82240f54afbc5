"""DiskCalls: records in which order a test's code syncs and renames, and checks that a file would survive a crash."""

import os
from pathlib import Path
from typing import Any

import pytest


class DiskCalls:
    """Each os.fsync as ("sync", inode), each os.rename or os.replace as ("rename", target)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, int | Path]] = []
        fsync, rename, replace = os.fsync, os.rename, os.replace

        def spy_fsync(opened: int) -> None:
            fsync(opened)
            self.calls.append(("sync", os.fstat(opened).st_ino))

        def spy_rename(source: Any, target: Any, **options: Any) -> None:
            rename(source, target, **options)
            self.calls.append(("rename", Path(target)))

        def spy_replace(source: Any, target: Any, **options: Any) -> None:
            replace(source, target, **options)
            self.calls.append(("rename", Path(target)))

        monkeypatch.setattr(os, "fsync", spy_fsync)
        monkeypatch.setattr(os, "rename", spy_rename)
        monkeypatch.setattr(os, "replace", spy_replace)

    def check(self, file: Path) -> None:
        """Check the order: sync of the file, rename of it or a folder around it, sync of the new name's folder."""
        synced = self.calls.index(("sync", file.stat().st_ino))
        after = self.calls[synced + 1 :]
        places = [("rename", path) for path in (file, *file.parents)]
        renamed = next(number for number, call in enumerate(after) if call in places)
        target = after[renamed][1]
        assert isinstance(target, Path)
        assert ("sync", target.parent.stat().st_ino) in after[renamed + 1 :]
