"""Files that are there whole or not at all: written aside, then renamed."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Several files of one folder, which is made: none takes its name before all are written aside."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for partial, content in [(stack.enter_context(aside(folder / name)), content) for name, content in files.items()]:
            partial.write_bytes(content)
