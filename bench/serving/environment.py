"""Environments: a rival's packages in a virtual environment of its own, made once."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tencrop.common.errors import WorkFailed, one_line

MADE = "made.json"  # what was asked for, written when all of it is there


def made(folder: Path, packages: Sequence[str]) -> Path:
    """Its interpreter; made anew where other packages were asked for before. Raises WorkFailed."""
    note, asked = folder / MADE, json.dumps(list(packages))
    python = folder / "bin" / "python"
    if note.is_file() and note.read_text() == asked:
        return python
    print(f"making {folder}: {' '.join(packages)}", file=sys.stderr)
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    _run(str(python), "-m", "pip", "install", "--quiet", *packages)
    note.write_text(asked)
    return python


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise WorkFailed(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise WorkFailed(f"{' '.join(command[:4])}: {one_line(' '.join(last))}")
