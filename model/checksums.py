"""SHA256SUMS: the sha256 of files in a folder, written beside them and checked when they are read.

The format is that of coreutils: `sha256sum --check SHA256SUMS` checks the same files.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tencrop.common.errors import BadInput

SUMS = "SHA256SUMS"


def hash_file(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the sums of those of the named files that are there. Raises OSError."""
    lines = [f"{hash_file(folder / name)}  {name}\n" for name in names if (folder / name).exists()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path, names: Iterable[str]) -> None:
    """Check those of the named files that are there. A folder without SHA256SUMS, as 0.1 wrote it, passes.

    Raises BadInput for the first file that is not listed or has another sum, OSError and ValueError for a SHA256SUMS
    that cannot be read.
    """
    if not (folder / SUMS).exists():
        return
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    for name in names:
        if (folder / name).exists() and f"{hash_file(folder / name)}  {name}" not in lines:
            raise BadInput(f"{name}: its sha256 is not the one in {SUMS}")
