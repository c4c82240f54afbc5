"""Installs this checkout with extras in a virtual environment: `python install/environment.py VENV CONSTRAINTS EXTRAS`.

A failure is one line; pip's own words are in the file that the line names.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
# du -sb; base is in cpu and in gpu
MEGABYTES = {"cpu": 487, "gpu": 3100, "evaluate": 320, "heif": 28, "train": 5900, "docs": 63, "dev": 1053}
WHEELS = 1.4  # pip keeps wheels beside what they become until it ends
RIVAL = {"cpu": "onnxruntime-gpu", "gpu": "onnxruntime"}  # overwrites the files of the extra's own onnxruntime
CAUSES = (  # in pip's words, and in ours
    (r"No space left on device|Disk quota exceeded", "no room: the disk is full"),
    (r"ResolutionImpossible|conflicting dependencies", "pip found no versions that fit each other"),
    (r"after connection broken by|Could not fetch URL|\(from versions: none\)", "no network: pip reached no index"),
)


class InstallError(Exception):
    """A failure of the installation, in one line."""


def install(venv: Path, constraints: Path, extras: Sequence[str]) -> None:
    """Install the checkout, editable, with these extras in `venv`, which is made where it is missing.

    Raises InstallError where room or the network is missing, or where pip fails for another reason.
    """
    _check_room(venv, extras)
    sys.stderr.write(f"installing tencrop[{','.join(extras)}] in {venv}\n")
    log = venv / "install.log"
    pip = (venv / "bin" / "python", "-m", "pip")
    if not (venv / "bin" / "pip").exists():
        _run((sys.executable, "-m", "venv", venv), log)
    if rivals := [RIVAL[extra] for extra in extras if extra in RIVAL and _is_installed(venv, RIVAL[extra])]:
        _run((*pip, "uninstall", "--yes", *{*rivals, *RIVAL.values()}), log)
    _run((*pip, "install", "--constraint", constraints, "--editable", f"{ROOT}[{','.join(extras)}]"), log)


def explain(output: str) -> str:
    """The cause of a failure in one line, from what pip printed."""
    for words, cause in CAUSES:
        if re.search(words, output):
            return cause
    errors = re.findall(r"^ERROR: (.+)", output, re.MULTILINE)
    return f"pip failed: {errors[-1] if errors else 'it gave no reason'}"


def _check_room(venv: Path, extras: Sequence[str]) -> None:
    """Raises InstallError where the disk has less than the environment will take, beside what it takes already."""
    there = next(folder for folder in (venv, *venv.absolute().parents) if folder.is_dir())
    present = sum(file.lstat().st_size for file in venv.rglob("*")) / 1e6
    needed = WHEELS * (sum(MEGABYTES[extra] for extra in extras) - present)
    free = shutil.disk_usage(there).free / 1e6
    if free < needed:
        raise InstallError(f"no room: {needed:.0f} MB are needed, {free:.0f} MB are free in {there.absolute()}")


def _is_installed(venv: Path, package: str) -> bool:
    return any(venv.glob(f"lib/python*/site-packages/{package.replace('-', '_')}-*.dist-info"))


def _run(command: Sequence[str | Path], log: Path) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    if done.returncode:
        why = explain(done.stdout)
        try:
            log.write_text(done.stdout, encoding="utf-8")
        except OSError:  # the disk is full
            raise InstallError(why) from None
        raise InstallError(f"{why} ({log} has pip's words)")


if __name__ == "__main__":
    try:
        install(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","))
    except InstallError as error:
        sys.exit(f"tencrop: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
