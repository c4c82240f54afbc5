""".ci/release refuses what is no release. Everything after that needs a network: the workflow runs it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "release"
DATED = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-11-29\n"
NO_PYTHON = "no-such-python"  # ends a script that refuses nothing


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one commit with version 1.2.3."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci")
    (tmp_path / "tencrop").mkdir()
    (tmp_path / "tencrop" / "__init__.py").write_text('"""A package."""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(DATED)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(checkout: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", checkout, *arguments], check=True, timeout=60)


def commit(checkout: Path) -> None:
    git(checkout, "add", "--all")
    git(checkout, "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "--quiet", "--message=x")


def release(checkout: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": NO_PYTHON}
    return subprocess.run(
        [checkout / ".ci" / "release"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_clean_tree_with_a_dated_version_is_built(checkout: Path) -> None:
    done = release(checkout)
    assert done.returncode == 127 and NO_PYTHON in done.stderr


@pytest.mark.parametrize("name", ["CHANGELOG.md", "new.py"])
def test_a_tree_with_changes_is_refused(checkout: Path, name: str) -> None:
    with (checkout / name).open("a") as file:
        file.write("\n")
    done = release(checkout)
    assert done.returncode == 2
    assert done.stderr == "release: there are changes without a commit; commit or stash them\n"


@pytest.mark.parametrize(
    "heading",
    ["## [Unreleased]", "## [1.2.3]", "## [1.2.3] - soon", "## [1.2.30] - 2026-11-29", "## [1x2.3] - 2026-11-29"],
)
def test_a_version_without_a_dated_section_is_refused(checkout: Path, heading: str) -> None:
    (checkout / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n")
    commit(checkout)
    done = release(checkout)
    assert done.returncode == 2
    assert done.stderr.startswith('release: CHANGELOG.md has no section "## [1.2.3] - YYYY-MM-DD"')
    assert done.stderr.count("\n") == 1
