"""docs/architecture.md shows the rooms, the tower and the journeys as the code has them."""

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.code_references import find_problem, find_references

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LINKS = {link.name for link in (ROOT / "tencrop").iterdir() if link.is_symlink()}
JOURNEYS = ("A POST of one image", "A validation", "A training")
STOP = re.compile(r"^(\d+)\. (.*?)(?=^\d+\. |\Z|\n\n)", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def picture() -> dict[str, Any]:
    """The functions of docs/architecture.py."""
    return runpy.run_path(str(ROOT / "docs" / "architecture.py"))


def section(title: str) -> str:
    """Return the text of a section, up to the next heading."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return str(text)


def test_the_table_of_rooms_is_the_tower_from_the_top(picture: dict[str, Any]) -> None:
    rows = re.findall(r"^\| `(\w+)/` \|", section("The tower"), re.MULTILINE)
    assert rows == [room for row in picture["read_tower"]() for room in row]


def test_the_tower_holds_every_room_that_tencrop_links_to(picture: dict[str, Any]) -> None:
    rooms = {room for row in picture["read_tower"]() for room in row}
    assert rooms == LINKS | {"bench", "experiments", "tencrop"}
    assert all((ROOT / "tencrop" / room).resolve() == ROOT / room for room in LINKS)


def test_ruff_bans_the_bare_name_of_every_room() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    banned = lint["flake8-tidy-imports"]["banned-api"]
    assert {room for room, ban in banned.items() if ban["msg"] == f"import tencrop.{room}"} == LINKS


def test_every_folder_of_code_is_a_room(picture: dict[str, Any]) -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {room for row in picture["read_tower"]() for room in row}


def test_the_picture_is_the_one_that_the_contracts_draw(picture: dict[str, Any]) -> None:
    drawn = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert drawn == picture["draw"](picture["read_tower"]()), "run: python docs/architecture.py"


def test_the_text_of_the_picture_names_every_row(picture: dict[str, Any]) -> None:
    (alternative,) = re.findall(r"!\[(.*?)\]\(architecture\.svg\)", TEXT, re.DOTALL)
    places = [alternative.index(room) for row in picture["read_tower"]() for room in row]
    assert places == sorted(places)


@pytest.mark.parametrize("title", JOURNEYS)
def test_every_stop_of_a_journey_points_into_the_code(title: str) -> None:
    stops = STOP.findall(section(title))
    assert [int(number) for number, _ in stops] == list(range(1, len(stops) + 1))
    assert len(stops) >= 10 and all(find_references(stop) for _, stop in stops)


@pytest.mark.parametrize("reference", sorted({r for r in find_references(TEXT) if ":" in r}))
def test_a_name_that_the_page_points_at_is_there(reference: str) -> None:
    assert find_problem(reference) is None


def test_the_page_points_at_files_that_are_there() -> None:
    paths = set(re.findall(r"\b((?:tests|docs|model|tencrop)/[a-z\d_./]*\w\.\w+)\b", TEXT))
    assert {"docs/architecture.py", "docs/operations.md", "model/net.py", "tests/fixtures/0.1"} <= paths
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_the_page_is_short_and_wrapped() -> None:
    lines = TEXT.splitlines()
    assert len(lines) <= 250
    assert not [line for line in lines if len(line) > 100 and not line.startswith("|")]
