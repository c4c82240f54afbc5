"""The text that a clone without Git LFS holds in place of each large file."""

from pathlib import Path

from tencrop.common.errors import BadInput

POINTER = b"version https://git-lfs.github.com/spec/"  # its first bytes


def refuse_lfs_pointer(file: Path) -> None:
    """Raise BadInput where a file is a pointer. What reads a file calls this once the file cannot be read."""
    with file.open("rb") as opened:
        if opened.read(len(POINTER)) == POINTER:
            raise BadInput(
                f"{file}: a Git LFS pointer in place of the file", "fetch it: run `git lfs pull` in the repository"
            )
