"""Strict configuration: frozen dataclasses read from TOML or JSON, where an unknown or mistyped key is an error."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput, lower_first

# A field with an alias is stored under the alias; in Python it has its own name.
STRICT = ConfigDict(extra="forbid", strict=True, validate_by_name=True)

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]  # a whole number of 400 digits would be read as infinite
Positive = Annotated[Finite, Field(gt=0)]
NotNegative = Annotated[Finite, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

MOST_SUGGESTED = 3  # keys

T = TypeVar("T")


def left_out(default: object) -> Any:
    """A field that is stored only where it differs from its default, so older files keep their bytes and hashes."""
    return Field(exclude_if=lambda value: value == default)


def parse(kind: type[T], data: Any, source: str) -> T:
    """Convert plain data (dicts, lists, numbers) to the dataclass `kind`. `source` names the file in error messages.

    The data goes through JSON, so that a list is read as a tuple and nothing else is coerced.
    Raises BadInput with the first key that does not fit and the reason.
    """
    try:
        text = json.dumps(data, allow_nan=False)
    except (TypeError, ValueError) as error:  # TOML has dates, nan and inf
        raise BadInput(f"{source}: holds a value that JSON does not have ({error})") from None
    try:
        return TypeAdapter(kind).validate_json(text, by_alias=True, by_name=False)
    except BadInput as error:  # a check of the dataclass itself
        raise BadInput(f"{source}: {error.what}", error.advice) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "document"
        unknown = first["type"] == "unexpected_keyword_argument"
        raise BadInput(
            f"{source}: {key}: {lower_first(first['msg'])}", _suggest_key(kind, key) if unknown else ""
        ) from None


def dump(value: Any) -> Any:
    """Convert a dataclass to plain data that JSON and TOML can hold: the inverse of `parse`."""
    return TypeAdapter(type(value)).dump_python(value, mode="json", by_alias=True)


def _suggest_key(kind: Any, key: str) -> str:
    """Advice for an unknown key: the keys that end alike, as optim.lr for lr, else the one that is like it."""
    known = list(_list_keys(kind))
    alike = [each for each in known if each.rpartition(".")[2] == key.rpartition(".")[2]]
    return f"did you mean {' or '.join(alike[:MOST_SUGGESTED])}?" if alike else did_you_mean(key, known)


def _list_keys(kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a dataclass and of those inside it, but for those in a dict, whose keys are free."""
    table = kind.__pydantic_fields__ if is_pydantic_dataclass(kind) else {}
    for name, field in table.items():
        key = f"{prefix}{field.alias or name}"
        yield key
        for inner in () if get_origin(field.annotation) is dict else (field.annotation, *get_args(field.annotation)):
            yield from _list_keys(inner, f"{key}.")
