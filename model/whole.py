"""Files that are there whole or not at all: written aside, then renamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
