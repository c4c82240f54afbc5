"""Tools of PyPI and npm that a test runs in an environment of its own. Without its registry the test is skipped."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 600  # that an installation may take


def find_npm(package: str) -> str:
    """The program npm, whose registry has the package, NAME@VERSION."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    if subprocess.run([npm, "view", package, "version"], capture_output=True, timeout=120).returncode:
        pytest.skip("needs npm's registry, which does not answer")
    return npm


def install_from_npm(folder: Path, package: str) -> None:
    """Install a package, NAME@VERSION, where scripts in `folder` find it."""
    command = [find_npm(package), "install", "--ignore-scripts", "--prefix", str(folder), package]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)


def install_from_pypi(folder: Path, *packages: str) -> Path:
    """A new virtual environment's folder of programs. The environment holds the packages."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
    installed = subprocess.run(pip, capture_output=True, text=True, timeout=SECONDS)
    if "No matching distribution" in installed.stderr:
        pytest.skip("needs an index of packages, which does not answer")
    assert installed.returncode == 0, installed.stderr
    return folder / "bin"
