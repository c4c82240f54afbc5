"""install/environment.py: what stops an installation is one line, and no environment holds both onnxruntimes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.scripts import load_script

ROOT = Path(__file__).parents[1]
environment = load_script("install/environment.py")

UNREACHABLE = """\
WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError(...)': /simple/numpy/
ERROR: Could not find a version that satisfies the requirement numpy==2.4.6 (from versions: none)
ERROR: No matching distribution found for numpy==2.4.6
"""
FULL = """\
WARNING: Retrying (Retry(total=4, connect=None)) after connection broken by 'ReadTimeoutError(...)': /simple/numpy/
ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device
"""
CONFLICT = """\
ERROR: Cannot install numpy==1 and numpy>=2 because these package versions have conflicting dependencies.
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/
"""
OTHER = "Collecting numpy\nERROR: numpy-2-py3-none-any.whl is not a supported wheel on this platform.\n"


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (UNREACHABLE, "no network: pip reached no index"),
        (FULL, "no room: the disk is full"),
        (CONFLICT, "pip found no versions that fit each other"),
        (OTHER, "pip failed: numpy-2-py3-none-any.whl is not a supported wheel on this platform."),
        ("Killed", "pip failed: it gave no reason"),
    ],
    ids=["network", "room", "conflict", "other", "silence"],
)
def test_a_failure_of_pip_is_explained_in_one_line(output: str, cause: str) -> None:
    assert environment.explain(output) == cause


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that is there, on a disk with 600 MB free. `commands` on it holds what would have been run."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "pip").touch()
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: SimpleNamespace(free=600e6))
    return folder


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that an installation runs; each ends well."""
    seen: list[list[str]] = []

    def run(command: tuple[object, ...], **_: object) -> SimpleNamespace:
        seen.append([str(word) for word in command])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(environment.subprocess, "run", run)
    return seen


def test_too_little_room_is_said_before_anything_is_done(venv: Path, commands: list[list[str]]) -> None:
    with pytest.raises(environment.InstallError, match=rf"^no room: 682 MB are needed, 600 MB are free in {venv}$"):
        environment.install(venv, Path("constraints.txt"), ["cpu"])
    with pytest.raises(environment.InstallError, match=rf"free in {venv.parent}$"):
        environment.install(venv.parent / "new" / "er", Path("constraints.txt"), ["cpu"])
    assert commands == []


def test_what_is_installed_already_needs_no_room(venv: Path, commands: list[list[str]]) -> None:
    with (venv / "large").open("wb") as file:
        file.truncate(100_000_000)
    environment.install(venv, Path("constraints.txt"), ["cpu"])
    (command,) = commands
    assert command[1:] == ["-m", "pip", "install", "--constraint", "constraints.txt", "--editable", f"{ROOT}[cpu]"]


@pytest.mark.parametrize(("extra", "rival"), [("cpu", "onnxruntime_gpu"), ("gpu", "onnxruntime")])
def test_one_onnxruntime_replaces_the_other(
    extra: str, rival: str, venv: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e13))
    own = {"cpu": "onnxruntime", "gpu": "onnxruntime_gpu"}[extra]
    site = venv / "lib" / "python3.11" / "site-packages"
    (site / f"{own}-1.31.1.dist-info").mkdir(parents=True)
    environment.install(venv, Path("c.txt"), [extra, "evaluate"])
    assert [command[3] for command in commands] == ["install"]
    (site / f"{rival}-1.31.1.dist-info").mkdir()
    environment.install(venv, Path("c.txt"), [extra, "evaluate"])
    assert [command[3] for command in commands] == ["install", "uninstall", "install"]
    assert set(commands[1][5:]) == {"onnxruntime", "onnxruntime-gpu"}  # either's removal takes files of both


@pytest.mark.slow
def test_an_index_that_is_not_there_is_one_line_and_a_log(tmp_path: Path) -> None:
    pip = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "1"}
    others = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    command = (sys.executable, "install/environment.py", tmp_path / "venv", "constraints.txt", "cpu")
    done = subprocess.run(command, cwd=ROOT, env=others | pip, capture_output=True, text=True, timeout=300)
    log = tmp_path / "venv" / "install.log"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == [f"tencrop: no network: pip reached no index ({log} has pip's words)"]
    assert "NewConnectionError" in log.read_text(encoding="utf-8")
