"""Virtual environments that hold tencrop as a user installs it, for the tests. Nothing is downloaded."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = sorted(link.name for link in (ROOT / "tencrop").iterdir() if link.is_symlink())
NOT_INSTALLED = ("bench", "experiments", "tests", "cli", "conftest")  # other names in the checkout
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation")
PRINT_IMPORTABLE = "import sys; from importlib.util import find_spec; print(*(n for n in sys.argv[1:] if find_spec(n)))"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without this checkout on its path -> its stdout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_dataset_wheel(folder: Path) -> Path:
    """Write a wheel that installs the package `dataset`, as the wheel of this name on PyPI does."""
    path = folder / "dataset-1.6.2-py3-none-any.whl"
    files = {
        "dataset/__init__.py": "def connect() -> str:\n    return 'connected'\n",
        "dataset-1.6.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: dataset\nVersion: 1.6.2\n",
        "dataset-1.6.2.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "dataset-1.6.2.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in (*files, record))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@dataclass(frozen=True)
class Installation:
    """A virtual environment with `dataset` and tencrop, above the packages of the environment that runs the tests."""

    python: Path
    added: frozenset[str]  # names that became importable with tencrop
    user: Path  # a folder with modules that are named like rooms and raise when they are imported
    empty: Path  # a folder without modules

    def run(self, *arguments: str | Path) -> str:
        """Run Python in the user's folder -> its stdout."""
        return run(self.python, *arguments, cwd=self.user)

    def find_importable(self, *names: str) -> list[str]:
        """Return the names that are importable outside the user's folder."""
        return run(self.python, "-c", PRINT_IMPORTABLE, *names, cwd=self.empty).split()


def install(arguments: Sequence[str | Path], root: Path) -> Installation:
    """Make an environment in `root`, install `dataset`, then call `pip install` with these arguments."""
    empty, user, python = root / "empty", root / "user", root / "venv" / "bin" / "python"
    empty.mkdir()
    user.mkdir()
    for name in ROOMS:
        (user / f"{name}.py").write_text(f"raise RuntimeError('the user\\'s own {name}.py')\n")
    venv.create(root / "venv", symlinks=True)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=empty).strip())
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")  # Python does not read .pth files there
    pip = (*PIP, "--python", python, "install", *OFFLINE)
    run(*pip, write_dataset_wheel(root), cwd=empty)
    names = ("tencrop", *ROOMS, *NOT_INSTALLED)
    before = Installation(python, frozenset(), user, empty).find_importable(*names)
    assert "dataset" in before and "tencrop" not in before
    run(*pip, *arguments, cwd=empty)
    installation = Installation(python, frozenset(), user, empty)
    return replace(installation, added=frozenset(installation.find_importable(*names)) - frozenset(before))
