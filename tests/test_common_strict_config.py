"""common/strict_config.py: unknown and mistyped keys are errors of one line that name the key."""

import datetime
from dataclasses import field
from typing import Any, Literal

import pytest
from pydantic.dataclasses import dataclass

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import STRICT, dump, parse


@dataclass(frozen=True, config=STRICT)
class Inner:
    ratio: float = 0.5
    names: tuple[str, ...] = ()


@dataclass(frozen=True, config=STRICT)
class Chosen:
    rule: Literal["SGD"]


@dataclass(frozen=True, config=STRICT)
class Outer:
    count: int
    on: bool = True
    inner: Inner = Inner()
    rates: dict[str, float] = field(default_factory=dict)


def test_lists_become_tuples_and_nested_tables_dataclasses() -> None:
    parsed = parse(Outer, {"count": 3, "inner": {"ratio": 1, "names": ["a", "b"]}, "rates": {"x": 0.1}}, "f")
    assert parsed == Outer(3, True, Inner(1.0, ("a", "b")), {"x": 0.1})


def test_dump_is_the_inverse_of_parse() -> None:
    value = Outer(3, False, Inner(0.1, ("a",)), {"x": 1e-5})
    assert dump(value) == {"count": 3, "on": False, "inner": {"ratio": 0.1, "names": ["a"]}, "rates": {"x": 1e-5}}
    assert parse(Outer, dump(value), "f") == value


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({}, "count"),
        ({"count": "3"}, "count"),
        ({"count": 3.5}, "count"),
        ({"count": True}, "count"),
        ({"count": None}, "count"),
        ({"count": 3, "on": 1}, "on"),
        ({"count": 3, "on": "yes"}, "on"),
        ({"count": 3, "off": True}, "off"),
        ({"count": 3, "inner": {"ratio": "1"}}, "inner.ratio"),
        ({"count": 3, "inner": {"ratios": 1}}, "inner.ratios"),
        ({"count": 3, "inner": {"names": "ab"}}, "inner.names"),
        ({"count": 3, "inner": {"names": ["a", 1]}}, "inner.names.1"),
        ({"count": 3, "inner": 5}, "inner"),
        ({"count": 3, "rates": {"x": "fast"}}, "rates.x"),
        ([], "document"),
        (None, "document"),
        (5, "document"),
    ],
)
def test_a_mismatch_is_bad_input_naming_file_and_key(data: Any, key: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(Outer, data, "recipe.toml")
    message = str(caught.value)
    assert message.startswith(f"recipe.toml: {key}: ")
    assert "\n" not in message


def test_what_a_message_quotes_keeps_its_capitals() -> None:
    with pytest.raises(BadInput, match=r"recipe\.toml: rule: input should be 'SGD'"):
        parse(Chosen, {"rule": "sgd"}, "recipe.toml")


def test_a_value_that_json_does_not_know_is_bad_input() -> None:
    """TOML has dates and times of its own."""
    with pytest.raises(BadInput, match=r"recipe\.toml"):
        parse(Outer, {"count": datetime.date(2012, 12, 3)}, "recipe.toml")


def test_a_parsed_value_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse(Outer, {"count": 3}, "f").count = 4  # type: ignore[misc]
