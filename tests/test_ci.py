""".github/, .ci/ and .pre-commit-config.yaml call what exists, for the versions of Python that pyproject.toml names."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
CALL = re.compile(
    r"^(?:make|\.ci/run)(?: \$\{@:-)?((?: ?[a-z-]+)+)"
)  # of targets; `${@:-` stands before the usual ones
FILES = {
    "pip": "pyproject.toml",
    "github-actions": ".github/workflows",
    "docker": "Dockerfile",
}  # what Dependabot reads


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def find_commands() -> set[str]:
    """The commands of the workflow, of pre-commit's hooks, of CONTRIBUTING.md and of the scripts in .ci/."""
    jobs = load(".github/workflows/ci.yml")["jobs"].values()
    commands = {step["run"] for job in jobs for step in job["steps"] if "run" in step}
    commands |= {hook["entry"] for each in load(".pre-commit-config.yaml")["repos"] for hook in each["hooks"]}
    for path in (ROOT / ".ci").iterdir():
        commands |= set(path.read_text(encoding="utf-8").splitlines())
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return commands | set(re.findall(r"^make .*$", guide, re.MULTILINE)) | set(re.findall(r"`(make [^`]*)`", guide))


def test_every_make_target_and_script_that_is_called_exists() -> None:
    called = {word for command in find_commands() for words in CALL.findall(command) for word in words.split()}
    assert called <= TARGETS and {"check", "test-all", "floors", "release"} <= called
    scripts = {command.split()[0] for command in find_commands() if command.startswith(".ci/")}
    assert scripts and all(os.access(ROOT / script, os.X_OK) for script in scripts)


def test_the_workflow_runs_every_python_that_the_classifiers_name() -> None:
    named = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.search(r":: Python :: 3\.\d+$", name)]
    matrix = load(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_the_hook_sees_every_file() -> None:
    (hook,) = (hook for each in load(".pre-commit-config.yaml")["repos"] for hook in each["hooks"])
    assert hook["entry"] == "make check" and hook["always_run"] and not hook["pass_filenames"]


@pytest.mark.parametrize("update", load(".github/dependabot.yml")["updates"], ids=lambda u: u["package-ecosystem"])
def test_updates_are_weekly_and_of_files_that_exist(update: dict[str, Any]) -> None:
    assert update["schedule"] == {"interval": "weekly"}
    assert (ROOT / update["directory"].strip("/") / FILES[update["package-ecosystem"]]).exists()
