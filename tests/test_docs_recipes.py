"""tencrop recipes and docs/recipes.md: the recipes and their fields, as the code has them."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from support.scripts import load_script

from tencrop.training.recipe import load
from tencrop.training.recipe_fields import describe_fields
from tencrop.training.recipe_table import recipe_names

ROOT = Path(__file__).parents[1]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from tencrop.cli import main; main()"


def print_recipes(*arguments: str) -> list[str]:
    """The lines of `tencrop recipes` in a pipe, in an interpreter that has no torch."""
    command = [sys.executable, "-c", WITHOUT_TORCH, "recipes", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_every_recipe_is_a_line_with_what_it_is() -> None:
    lines = print_recipes()
    assert [line.split()[0] for line in lines[1:]] == recipe_names()
    assert all(line.rstrip().endswith(load(line.split()[0]).about) for line in lines[1:])


@pytest.mark.slow
def test_every_field_is_a_line_in_a_pipe() -> None:
    lines = print_recipes("--fields")
    assert lines[0].split() == ["name", "type", "default", "meaning", "paper"]
    for line, field in zip(lines[1:], describe_fields(), strict=True):
        assert " ".join(line.split()) == " ".join(field).rstrip()


def test_a_terminal_shows_no_line_wider_than_itself() -> None:
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "tencrop", "recipes", "--fields"]
    with subprocess.Popen(command, stdout=child, env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}) as process:
        os.close(child)
        shown = b""
        while part := read(parent):
            shown += part
    os.close(parent)
    lines = [line.split("\x1b")[0] for line in shown.decode().splitlines()[1:]]
    assert process.returncode == 0 and max(map(len, lines)) <= 100
    assert {line.split()[0] for line in lines if line[0] != " "} == {field.name for field in describe_fields()}


def read(terminal: int) -> bytes:
    """Read what the terminal's other end writes next; empty at its end, which Linux reports as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_the_page_is_what_the_code_writes() -> None:
    written = load_script("docs/recipes.py").write_page()
    assert (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8") == written, "run: python docs/recipes.py"
