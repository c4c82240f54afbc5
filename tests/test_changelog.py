"""CHANGELOG.md has the form of Keep a Changelog 1.1.0, and the checkout names one version everywhere."""

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tencrop import __version__

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
VERSIONS = re.findall(r"^## (?!\[Unreleased\]$)(.*)$", CHANGELOG, re.MULTILINE)
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_newest_version_is_that_of_the_package() -> None:
    assert CHANGELOG.index("\n## [Unreleased]\n") < CHANGELOG.index(f"\n## {VERSIONS[0]}\n")
    assert VERSIONS[0].startswith(f"[{__version__}] - ")


@pytest.mark.parametrize("heading", VERSIONS)
def test_every_version_has_a_number_and_an_iso_date(heading: str) -> None:
    match = re.fullmatch(r"\[\d+\.\d+\.\d+\] - (\d{4}-\d{2}-\d{2})", heading)
    assert match and date.fromisoformat(match[1])


def test_versions_and_dates_descend() -> None:
    numbers = [[int(part) for part in re.findall(r"\d+", heading)] for heading in VERSIONS]
    assert numbers == sorted(numbers, reverse=True)
    dates = [number[3:] for number in numbers]
    assert dates == sorted(dates, reverse=True)


def test_every_version_lists_kinds_of_changes_once_and_in_order() -> None:
    for section in CHANGELOG.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds]


def test_the_citation_names_the_version_its_date_and_its_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert VERSIONS[0] == f"[{citation['version']}] - {citation['date-released']}"
    assert citation["license"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]


@pytest.mark.parametrize("name", ["deploy/kubernetes.yaml", "docs/operations.md"])
def test_tags_of_the_image_name_this_version(name: str) -> None:
    assert set(re.findall(r"\btencrop:(\d+\.\d+\.\d+)", (ROOT / name).read_text(encoding="utf-8"))) == {__version__}
