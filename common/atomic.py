"""Files that are there whole or not at all: written aside, then renamed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tencrop.common.errors import BadInput


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Where to write instead; it becomes `path` when the block ends well, and is removed where it does not."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Text is written as UTF-8."""
    with atomic_path(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into instead, within `folder`, which is made; what is in it moves up when the block ends well.

    Raises BadInput where something of another kind has the name of one of them; then, and where the block fails, nothing moves.
    """
    partial, there = folder / ".partial", folder.exists()
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        made = sorted(partial.iterdir())
        for path in made:
            if (folder / path.name).exists() and (folder / path.name).is_dir() != path.is_dir():
                raise BadInput(f"{folder / path.name}: stands in the way; remove it or choose another place")
        for path in made:
            _move(path, folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not there:
            with suppress(OSError):  # it holds what was made
                folder.rmdir()


def _move(path: Path, to: Path) -> None:
    """A folder that is there already is out of the way for a moment."""
    if to.is_dir():
        to.rename(path.with_name(path.name + ".old"))
    path.replace(to)
