"""Writes constraints.txt: the newest versions that all extras of pyproject.toml allow together. For `make lock`."""

import json
import platform
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TWINS = ("onnxruntime", "onnxruntime-gpu")  # one runtime in two packages, of which an environment holds one
HEADER = f"""\
# The versions that this checkout is tested with. `make lock` wrote them on Python {platform.python_version()}.
# pyproject.toml has the ranges; make, .ci/run and the Dockerfile install with `--constraint constraints.txt`.
"""


def main() -> None:
    """Resolve anew, and write the file."""
    versions = _resolve(())
    pair = {versions[name] for name in TWINS}
    if len(pair) > 1:  # a release of one is out before that of the other
        older = min(pair, key=lambda version: [int(part) for part in version.split(".")])
        versions = _resolve([f"{name}=={older}" for name in TWINS])
    (ROOT / "constraints.txt").write_text(HEADER + format_versions(versions), encoding="utf-8")


def format_versions(versions: Mapping[str, str]) -> str:
    """One line for each package, in the order of the alphabet."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def read_versions(report: Mapping[str, Any]) -> dict[str, str]:
    """The packages of pip's report and their public versions: where they came from is this machine's own affair."""
    packages = [item["metadata"] for item in report["install"]]
    named = {package["name"].lower().replace("_", "-"): package["version"].partition("+")[0] for package in packages}
    del named["tencrop"]
    return named


def _resolve(pins: tuple[str, ...] | list[str]) -> dict[str, str]:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    pip = (sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-")
    done = subprocess.run((*pip, f"{ROOT}[{','.join(extras)}]", *pins), stdout=subprocess.PIPE, check=True)
    return read_versions(json.loads(done.stdout))


if __name__ == "__main__":
    main()
