"""README.md, docs/*.md and other pages: every path, module and test selection in them exists."""

import ast
import re
from pathlib import Path

import pytest
from support.code_references import REFERENCE, find_problem, find_references

ROOT = Path(__file__).parents[1]
ROOMS = "bench|common|dataset|deploy|docs|evaluation|experiments|export|images|model|runtime|server|tests|training"
DOCUMENTS = [path.relative_to(ROOT).as_posix() for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])]


def read_without_quotes(name: str) -> str:
    """The text without "quoted" commit subjects, which name files as they were."""
    return re.sub(r'"[^"\n`]*"', "", (ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_in_backticks_exists(name: str) -> None:
    for code in re.findall(r"`([^`\n]+)`", read_without_quotes(name)):
        for path in re.findall(rf"(?:^|(?<= ))((?:{ROOMS})/[\w./-]*)", code):
            assert (ROOT / path.rstrip(".")).exists(), path


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_name_that_is_pointed_at_is_in_its_file(name: str) -> None:
    references = [
        reference for reference in find_references(read_without_quotes(name)) if REFERENCE.fullmatch(reference)
    ]
    assert not {reference: problem for reference in references if (problem := find_problem(reference))}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_module_that_is_run_exists(name: str) -> None:
    for module in re.findall(r"python\s+-m\s+((?:bench|experiments)\.\w+)", read_without_quotes(name)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_selection_of_tests_finds_one(name: str) -> None:
    text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
    for path, quoted, word in re.findall(r"(tests/test_\w+\.py) -k (?:\"([^\"]+)\"|(\w+))", text):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for part in (quoted or word).split(" or "):
            assert any(function.startswith("test_") and part in function for function in functions), f"{path} -k {part}"
