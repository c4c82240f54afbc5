"""Files that are there whole or not at all: written aside, then renamed."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from model.errors import BadInput


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Where to write instead; it becomes `path` when the block ends well, and is removed where it does not."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Text is written as UTF-8."""
    with aside(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def gathered(folder: Path) -> Iterator[Path]:
    """A folder to write into instead; what is in it moves into `folder`, which is made, when the block ends well.

    Raises BadInput where something of another kind has the name of one of them; then, and where the block fails, nothing moves.
    """
    partial = folder.resolve().with_name(folder.resolve().name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        made = sorted(partial.iterdir())
        for path in made:
            if (folder / path.name).exists() and (folder / path.name).is_dir() != path.is_dir():
                raise BadInput(f"{folder / path.name}: stands in the way; remove it or choose another place")
        folder.mkdir(exist_ok=True)
        for path in made:
            _move(path, folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move(path: Path, to: Path) -> None:
    """A folder that is there already is out of the way for a moment."""
    if to.is_dir():
        to.rename(path.with_name(path.name + ".old"))
    path.replace(to)


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Several files of one folder, as `gathered` has it."""
    with gathered(folder) as partial:
        for name, content in files.items():
            (partial / name).write_bytes(content)
