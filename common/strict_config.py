"""Strict configuration: frozen dataclasses read from TOML or JSON, where an unknown or mistyped key is an error."""

import json
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from tencrop.common.errors import BadInput

STRICT = ConfigDict(extra="forbid", strict=True, validate_by_name=True)

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]

T = TypeVar("T")


def parse(kind: type[T], data: Any, source: str) -> T:
    """Turn plain data (dicts, lists, numbers) into the dataclass `kind`.

    Goes through JSON, where a list is read as a tuple but nothing else is coerced.
    Raises BadInput with the key and what is wrong with it; `source` names the file in that line.
    """
    try:
        text = json.dumps(data, allow_nan=False)
    except (TypeError, ValueError) as error:  # TOML has dates, nan and inf
        raise BadInput(f"{source}: holds a value that JSON cannot ({error})") from None
    try:
        return TypeAdapter(kind).validate_json(text, by_alias=True, by_name=False)
    except BadInput as error:  # a dataclass's own check
        raise BadInput(f"{source}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "document"
        raise BadInput(f"{source}: {key}: {first['msg'].lower()}") from None


def dump(value: Any) -> Any:
    """The inverse of `parse`: plain data that JSON and TOML can hold."""
    return TypeAdapter(type(value)).dump_python(value, mode="json", by_alias=True)
