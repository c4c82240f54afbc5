"""Prints constraints for the lowest versions that pyproject.toml allows. `make floors` tests with them.

The base, `cpu` and `evaluate` are at their floors. The packages of the other extras have the versions of
constraints.txt, and what all of them depend on is free.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOW = ("cpu", "evaluate")  # beside the base
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])?(>=(?P<floor>[\w.]+))?")


def list_floors(pyproject: str, constraints: str) -> dict[str, str]:
    """The version of each package that pyproject.toml names."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    low = _read(project["dependencies"]) | _read(line for extra in LOW for line in extras[extra])
    locked = dict(line.split("==") for line in constraints.splitlines() if not line.startswith("#"))
    others = _read(line for lines in extras.values() for line in lines).keys() - low.keys() - {"tencrop"}
    return low | {name: locked[name] for name in sorted(others)}


def _read(requirements: Iterable[str]) -> dict[str, str]:
    """Names and lowest versions of requirements."""
    found = [REQUIREMENT.match(line) for line in requirements]
    return {each["name"].lower().replace("_", "-"): each["floor"] for each in found if each}


if __name__ == "__main__":
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "constraints.txt")]
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in list_floors(*texts).items())
