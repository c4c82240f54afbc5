"""Recipe table: a recipe as TOML has it, laid over its base, before its keys and values are checked."""

import tomllib
from pathlib import Path
from typing import Any

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput

RECIPES = Path(__file__).parent / "recipes"
# A variant that changes more than these keys has no published errors to expect.
KEEPS_EXPECT = frozenset(["name", "about", "seed", "precision", "compile"])

Table = tuple[dict[str, Any], Any]  # a recipe, and the number of epochs that its events were written for


def recipe_names() -> list[str]:
    """The names of the recipes that tencrop has."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_table(name: str, above: tuple[str, ...] = ()) -> Table:
    """Read a recipe's TOML and lay it over its base -> the table, and the epochs for which its events are written.

    above: the recipes read on the way, to refuse a circle. Raises BadInput.
    """
    named = RECIPES / f"{name}.toml"
    file = named if named.is_file() else Path(name)
    if not file.is_file():
        known = recipe_names()
        advice = did_you_mean(name, known, f"known are {', '.join(known)}, or name a TOML file")
        raise BadInput(f"{name}: no such recipe", advice)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: not TOML: {error}") from None
    base = table.pop("base", "")
    if not isinstance(base, str) or base in above:
        raise BadInput(f"{file}: base must name another recipe, it is {base!r}")
    return overlay(read_table(base, (*above, base)), table) if base else (table, table.get("epochs"))


def overlay(base: Table, change: dict[str, Any]) -> Table:
    """Apply a variant's changes to its base."""
    table, event_epochs = base
    both = merge(table, change)
    keeps = KEEPS_EXPECT | {"start"} if both.get("take") else KEEPS_EXPECT  # such a recipe is about a start
    if change.keys() - keeps and "expect" not in change:
        both["expect"] = []
    return both, both.get("epochs") if "events" in change else event_epochs


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Merge nested tables; the change wins."""
    both = {k: merge(base[k], v) for k, v in change.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return base | change | both


def set_override(table: dict[str, Any], override: str) -> None:
    """Set "a.b=value" in the table. The value is TOML, or a bare word, which is a string."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise BadInput(f"--set {override}: expected key=value, as in --set optim.batch=64")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *path, last = key.split(".")
    for part in path:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise BadInput(f"--set {override}: {part!r} has no fields")
    table[last] = value
