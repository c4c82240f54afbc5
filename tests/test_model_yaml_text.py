"""model/yaml_text.py: what it writes is read back by PyYAML as the same data."""

from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tencrop.model.yaml_text import yaml_lines

HOSTILE = [
    "yes",
    "null",
    "1e3",
    "- a",
    "a: b",
    "# no",
    '"quoted" \\ back',
    "é 🦎",
    "",
    " space ",
    "[x]",
    "&a",
    "*a",
    "|",
]


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": 0.75, "c": "text", "d": None, "e": True},
        {"a": {"b": {"c": [1, 2]}, "d": "x"}, "e": ["p", "q"]},
        {"index": [{"name": "n", "results": [{"task": {"type": "t"}, "metrics": [{"v": 1}, {"v": 2}]}]}]},
        {"strings": HOSTILE, **{f"key{i}": text for i, text in enumerate(HOSTILE)}},
    ],
    ids=["scalars", "nested", "lists of mappings", "hostile strings"],
)
def test_pyyaml_reads_the_same_data(value: dict[str, Any]) -> None:
    assert yaml.safe_load("\n".join(yaml_lines(value))) == value


def test_a_text_stays_on_its_line() -> None:
    (line,) = yaml_lines({"name": "a\nb\x1b[0m\x85\u2028\x7f"})
    assert yaml.safe_load(line) == {"name": r"a\nb\x1b[0m\x85\u2028\x7f"}
