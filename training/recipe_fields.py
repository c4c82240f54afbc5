"""RecipeField: a field of the recipe as a user sets it, with the comment that stands behind it in the code."""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, NamedTuple, get_args

from pydantic import TypeAdapter
from pydantic_core import PydanticUndefined

from tencrop.common.strict_config import dump
from tencrop.training.recipe import Recipe

PAPER = r"(?:[Ss]ection|[Ff]igure|[Tt]ables?) \d(?:\.\d)?(?: and \d)?"
BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}  # JSON Schema


class RecipeField(NamedTuple):
    """A row of the table of fields."""

    name: str  # optim.lr; events[].after is a field of each event
    type: str  # TOML's word, with the bounds
    default: str  # in TOML's notation, or why there is none
    meaning: str
    paper: str  # section, figure or table; empty where the paper says nothing


BASE = RecipeField("base", "string", "none", "the recipe that gives every value that this one leaves out", "")


def describe_fields() -> list[RecipeField]:
    """Describe every field of a recipe, in the order of the code."""
    return [BASE, *_walk(Recipe, "", None)]


def _walk(kind: Any, prefix: str, values: Any) -> Iterator[RecipeField]:
    """Describe the fields of a dataclass. values: an instance that holds their defaults, None for the class's own."""
    schemas = TypeAdapter(kind).json_schema()["properties"]
    comments = _read_comments(kind)
    for attribute, field in kind.__pydantic_fields__.items():
        key = field.alias or attribute
        default = getattr(values, attribute) if values else field.get_default(call_default_factory=True)
        inner = next((each for each in (field.annotation, *get_args(field.annotation)) if is_dataclass(each)), None)
        is_array = isinstance(default, tuple)
        if inner is None or not is_dataclass(default):  # a table that every recipe has needs no row of its own
            meaning, paper = _split_paper(comments[attribute], kind)
            yield RecipeField(f"{prefix}{key}", _name_type(schemas[key]), _format(default), meaning, paper)
        if inner is not None and not isinstance(default, dict):  # a table by layers is one row
            inner_values = default if is_dataclass(default) else None
            yield from _walk(inner, f"{prefix}{key}{'[]' if is_array else ''}.", inner_values)


def _read_comments(kind: Any) -> dict[str, str]:
    """Read the comment at the end of each field's definition."""
    lines = textwrap.dedent(inspect.getsource(kind)).split("\n")
    (definition,) = ast.parse("\n".join(lines)).body
    assert isinstance(definition, ast.ClassDef)
    fields = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
    return {
        node.target.id: lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip(" #")
        for node in fields
        if isinstance(node.target, ast.Name) and node.end_lineno and node.end_col_offset
    }


def _split_paper(comment: str, kind: Any) -> tuple[str, str]:
    """Split "meaning (section 5)". A field without a section has that of its class's docstring."""
    if found := re.fullmatch(rf"(.*) \(({PAPER})\)", comment):
        return found[1], found[2]
    of_class = re.search(PAPER, kind.__doc__)
    return comment, of_class[0].lower() if of_class else ""


def _name_type(schema: dict[str, Any]) -> str:
    """Name a type of JSON Schema in words: "number above 0", "array of strings"."""
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if "prefixItems" in schema:
        return f"array of {len(schema['prefixItems'])}: {_name_type(schema['prefixItems'][0])}"
    if "items" in schema:
        return f"array of {_name_type(schema['items'])}s"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"table of {_name_type(schema['additionalProperties'])}"
    bounds = [f"{word} {schema[key]}" for key, word in BOUNDS.items() if key in schema]
    return " ".join([schema.get("type", "table"), *bounds])


def _format(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    return "none" if default is None else json.dumps(dump(default))
