"""Finds references to code in a page, `path/file.py:name` and `path/recipe.toml:key`, and checks that they exist."""

import ast
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"`([^`]+)`")
REFERENCE = re.compile(r"[\w./-]+\.(?:py|toml):\w+(?:\.\w+)*")


def find_references(text: str) -> list[str]:
    """All inline code that names a .py or .toml file."""
    return [code for code in CODE.findall(text) if ".py" in code or ".toml" in code]


def find_problem(reference: str) -> str | None:
    """The fault of a reference `path:name`; None if the file exists and defines the name."""
    if not REFERENCE.fullmatch(reference):
        return "not of the form path/file.py:Name or path/recipe.toml:key.subkey"
    path, name = reference.split(":")
    file = ROOT / path
    if not file.is_file():
        return f"no file {path}"
    source = file.read_text(encoding="utf-8")
    keys = name.split(".")
    found = (
        is_in_python(ast.parse(source).body, keys) if file.suffix == ".py" else is_in_toml(tomllib.loads(source), keys)
    )
    return None if found else f"no {name} in {path}"


def is_in_python(body: Sequence[ast.stmt], keys: Sequence[str]) -> bool:
    """Return whether the statements define keys[0], and its class body the other keys."""
    name, *rest = keys
    for statement in body:
        if name in defined_names(statement):
            return not rest or (isinstance(statement, ast.ClassDef) and is_in_python(statement.body, rest))
    return False


def defined_names(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement defines in its module or class."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=targets):
            yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))


def is_in_toml(table: Any, keys: Sequence[str]) -> bool:
    """Return whether nested tables have these keys. A list, such as [[events]], can only be the last one."""
    for key in keys:
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True
