"""Recipe: one training as frozen dataclasses, read from TOML; unknown or mistyped keys are errors."""

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import STRICT, Count, Natural, NotNegative, Positive, dump, parse
from tencrop.model.layer_table import parameter_shapes
from tencrop.model.net_config import NetConfig
from tencrop.model.published_errors import PublishedError

RECIPES = Path(__file__).parent / "recipes"
KEEPS_EXPECT = frozenset(
    ["name", "about", "seed", "precision", "compile"]
)  # a variant in more than these has no logged errors
FREE_TO_CHANGE = frozenset(  # in a run that is resumed: what it does next, not what it did
    ["name", "about", "epochs", "events", "plateau", "until_train_error", "expect", "compile"]
)


@dataclass(frozen=True, config=STRICT)
class Augment:
    """Section 4.1. `noise` multiplies the standard deviations of the colour PCA; 0 leaves it out."""

    crops: bool = True  # random 224 crops; else the center
    mirror: bool = True
    noise: NotNegative = 0.1
    noise_divide: Positive = 1.0  # the 2012 program divides the noisy image by 1.1


@dataclass(frozen=True, config=STRICT)
class Optim:
    """Section 5: v = momentum v - decay lr w - lr g; w = w + v."""

    batch: Count = 128
    momentum: NotNegative = 0.9
    lr: NotNegative = 0.01
    decay: NotNegative = 0.0005
    bias_lr: NotNegative = 0.01
    bias_decay: NotNegative = 0.0005
    bias_drops: bool = True  # the schedule's drops hold for biases too


@dataclass(frozen=True, config=STRICT)
class Event:
    """What holds once `after` epochs are done, until the next event: that one says again what is to stay, but for `divide`."""

    after: Natural
    divide: Positive = 1.0  # every later rate, on top of earlier drops
    layer_lr: dict[str, NotNegative] = dataclasses.field(
        default_factory=dict
    )  # weights of a layer at a rate of their own
    frozen: tuple[str, ...] = ()  # layers whose update is skipped, biases included
    noise: bool = True


@dataclass(frozen=True, config=STRICT)
class Plateau:
    """The paper's rule: divide when the validation error stops improving; after `drops` times, end."""

    divide: Positive = 10.0
    drops: Natural = 3
    patience: Count = 5  # epochs without a new lowest error that count as "stopped improving"


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """One training from start to end."""

    name: str
    about: str
    epochs: Count
    mean: Literal["aligned", "center"] = "aligned"
    seed: Natural = 0
    start: str = ""  # a checkpoint to fine-tune, its matrices factorised to this recipe's ranks
    precision: Literal["auto", "bf16", "fp16", "fp32"] = (
        "auto"  # of the layers and norms; weights and the update are fp32
    )
    compile: bool = True
    net: NetConfig = NetConfig()
    augment: Augment = Augment()
    optim: Optim = Optim()
    events: tuple[Event, ...] = ()
    plateau: Plateau | None = None
    until_train_error: float = 0.0  # end after an epoch with a training error of at most this (figure 1); 0: go on
    expect: tuple[PublishedError, ...] = ()


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by its name in training/recipes or by the path of a TOML file, with "key=value" overrides.

    A variant that sets `epochs` but no `events`, be it a file with a base or an override, scales the schedule as a whole. One that
    changes the net or its training expects no logged errors but those it names. Raises BadInput for an unknown name, key or value.
    """
    change: dict[str, Any] = {}
    for override in overrides:
        _set(change, override)
    table, written_for = _lay(_table(name), change)
    recipe = parse(Recipe, _merge({"net": dump(NetConfig())}, table), f"recipe {name}")
    layers = {name.partition(".")[0] for name in parameter_shapes(recipe.net)}
    for event in recipe.events:
        if odd := {*event.frozen, *event.layer_lr} - layers:
            raise BadInput(f"recipe {name}: events: the net has no layer {min(odd)!r}")
    if recipe.events and written_for != recipe.epochs:
        if not isinstance(written_for, int) or written_for < 1:
            raise BadInput(f"recipe {name}: events without epochs of its own to scale them from")
        factor = recipe.epochs / written_for  # an event that comes after an epoch still does, however few they are
        scaled = [
            dataclasses.replace(event, after=max(round(event.after * factor), min(event.after, 1)))
            for event in recipe.events
        ]
        recipe = dataclasses.replace(recipe, events=tuple(scaled))
    return recipe


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data, every default written out."""
    plain: dict[str, Any] = dump(recipe)
    return {key: value for key, value in plain.items() if value is not None}


def compare_recipes(was: Mapping[str, Any], now: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, old value, new value) wherever two plain recipes differ; None where one has no such key."""
    for key in sorted({*was, *now}):
        old, new = was.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from compare_recipes(old, new, f"{under}{key}.")
        elif old != new:
            yield f"{under}{key}", old, new


Written = tuple[dict[str, Any], Any]  # a recipe's table, and the epochs that its events were written for


def _table(name: str, above: tuple[str, ...] = ()) -> Written:
    """The TOML of a recipe laid over that of its `base`; `above` are the files that led here."""
    named = RECIPES / f"{name}.toml"
    file = named if named.is_file() else Path(name)
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
        raise BadInput(f"{name}: no such recipe; known are {known}, or name a TOML file")
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: not TOML: {error}") from None
    base = table.pop("base", "")
    if not isinstance(base, str) or base in above:
        raise BadInput(f"{file}: base must name another recipe, it is {base!r}")
    return _lay(_table(base, (*above, base)), table) if base else (table, table.get("epochs"))


def _lay(below: Written, change: dict[str, Any]) -> Written:
    """A variant over what it varies."""
    table, written_for = below
    both = _merge(table, change)
    if change.keys() - KEEPS_EXPECT and "expect" not in change:
        both["expect"] = []
    return both, both.get("epochs") if "events" in change else written_for


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    both = {k: _merge(base[k], v) for k, v in change.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return base | change | both


def _set(table: dict[str, Any], override: str) -> None:
    """Lay "a.b=value" over the table; the value is TOML, or a bare word as a string."""
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
