"""Writes plain data as YAML, for the head of a model card. Reading YAML takes a package that serving does not need."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tencrop.common.terminal_text import escape_text


def yaml_lines(value: Mapping[str, Any] | Sequence[Any]) -> list[str]:
    """The lines of a mapping or a list, not empty, of such, strings and numbers. Strings are quoted as in JSON."""
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _entry(f"{key}:", item, [f"{key}:"], "  ")]
    return [line for item in value for line in _entry("-", item, [], "- ")]


def _entry(mark: str, item: Any, head: list[str], indent: str) -> list[str]:
    """The lines of one item: a scalar behind its mark, or a collection below `head`, indented."""
    if isinstance(item, str):
        return [f"{mark} {json.dumps(escape_text(item), ensure_ascii=False)}"]
    if not isinstance(item, Mapping | list | tuple):
        return [f"{mark} {json.dumps(item)}"]
    first, *others = yaml_lines(item)
    return [*head, f"{indent}{first}", *(f"  {line}" for line in others)]
