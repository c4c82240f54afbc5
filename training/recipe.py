"""Recipe: one training as frozen dataclasses, read from TOML. Unknown or mistyped keys are errors."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic.dataclasses import dataclass

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import STRICT, Count, Natural, NotNegative, Positive, dump, left_out, parse
from tencrop.model.layer_table import parameter_shapes
from tencrop.model.net_config import NetConfig
from tencrop.model.published_errors import PublishedError
from tencrop.model.run_checkpoints import find_checkpoint
from tencrop.training.recipe_table import merge, overlay, read_table, set_override
from tencrop.training.start import read_start_net

Take = Annotated[tuple[str, ...], left_out(())]
NetFrom = Annotated[Literal["recipe", "start"], left_out("recipe")]
StatisticsFrom = Annotated[Literal["data", "start"], left_out("data")]


@dataclass(frozen=True, config=STRICT)
class Augment:
    """Section 4.1."""

    crops: bool = True  # random 224x224 crops; else the center crop
    mirror: bool = True  # mirror every second image, by chance
    noise: NotNegative = 0.1  # factor of the colour PCA's standard deviations; 0: no colour noise
    noise_divide: Positive = 1.0  # divisor of the noisy image; the 2012 program has 1.1


@dataclass(frozen=True, config=STRICT)
class LayerRates:
    """Rates of one layer."""

    lr: NotNegative = 1.0  # factor of the rates of its weights and biases; 0: the layer is frozen


@dataclass(frozen=True, config=STRICT)
class Optim:
    """Section 5: v = momentum v - decay lr w - lr g; w = w + v."""

    batch: Count = 128  # images of one update, on all devices together
    momentum: NotNegative = 0.9  # share of the last step that the next one keeps
    lr: NotNegative = 0.01  # learning rate of the weights at the start
    decay: NotNegative = 0.0005  # weight decay of the weights
    bias_lr: NotNegative = 0.01  # learning rate of the biases at the start; the 2012 program has 0.02
    bias_decay: NotNegative = 0.0005  # weight decay of the biases; the 2012 program has 0
    bias_drops: bool = True  # whether the schedule's drops apply to biases too
    layers: Annotated[dict[str, LayerRates], left_out({})] = dataclasses.field(
        default_factory=dict
    )  # factors of the rates by layer: fc8 = { lr = 10.0 }; with 0 the layer is frozen

    @property
    def frozen(self) -> frozenset[str]:
        """The layers that the whole training leaves as they are."""
        return frozenset(name for name, rates in self.layers.items() if not rates.lr)


@dataclass(frozen=True, config=STRICT)
class Event:
    """Settings from one epoch on. The next event replaces them all, but the divisions of all events accumulate."""

    after: Natural  # epochs that are done when the event begins
    divide: Positive = 1.0  # divisor of every later rate, on top of earlier events
    layer_lr: dict[str, NotNegative] = dataclasses.field(default_factory=dict)  # layers whose weights have an own rate
    frozen: tuple[str, ...] = ()  # layers that are not updated, biases included
    noise: bool = True  # colour noise, with its division


@dataclass(frozen=True, config=STRICT)
class Plateau:
    """Section 5: divide the rates when the validation error stops improving, `drops` times, then end."""

    divide: Positive = 10.0  # divisor of the rates at each drop
    drops: Natural = 3  # drops before the training ends
    patience: Count = 5  # epochs without a new lowest error that count as "stopped improving"


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """One training from start to end."""

    name: str  # name of the recipe
    about: str  # one line about it
    epochs: Count  # passes over the training images, at most (section 5)
    mean: Literal["aligned", "center"] = "aligned"  # subtract the mean under a crop, or its center (section 2)
    seed: Natural = 0  # of the initial weights, the order of the images and their crops, noise and dropout
    start: str = ""  # net to fine-tune: its layers that fit are taken, its matrices factorised to this recipe's ranks
    take: Take = ()  # layers to take from the start, which must have them; none named: all that fit
    net_from: NetFrom = "recipe"  # whose `net` and `mean` hold where this recipe sets none
    statistics_from: StatisticsFrom = "data"  # whose mean image and colour PCA to use (section 2)
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"  # of layers and norms; weights and update are fp32
    compile: bool = True  # compile the net with torch.compile
    net: NetConfig = NetConfig()
    augment: Augment = Augment()
    optim: Optim = Optim()
    events: tuple[Event, ...] = ()  # changes at fixed epochs; the 2012 program's way to drop the rates
    plateau: Plateau | None = None  # the paper's way to drop the rates, by the validation error (section 5)
    until_train_error: float = 0.0  # end after an epoch with at most this training error; 0: never (figure 1)
    expect: tuple[PublishedError, ...] = ()  # published errors that a report prints beside the measured ones


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe by its name in training/recipes or by the path of a TOML file, with "key=value" overrides.

    A variant is a file with a `base`, or a recipe with overrides. Where a variant sets `epochs` but no `events`, its
    base's events are scaled to the new number of epochs. A variant that changes the net or its training expects no
    published errors but those that it names. Raises BadInput for an unknown name, key or value.
    """
    change: dict[str, Any] = {}
    for override in overrides:
        set_override(change, override)
    table, event_epochs = overlay(read_table(name), change)
    recipe = parse(Recipe, merge(_inherit(table), table), f"recipe {name}")
    _check_layers(recipe, name)
    if recipe.events and event_epochs != recipe.epochs:
        if not isinstance(event_epochs, int) or event_epochs < 1:
            raise BadInput(f"recipe {name}: events without epochs of its own to scale them from")
        recipe = dataclasses.replace(recipe, events=_scale_events(recipe.events, recipe.epochs / event_epochs))
    return recipe


def _inherit(table: dict[str, Any]) -> dict[str, Any]:
    """Find the net that the table changes fields of, and set the table's `start` to its checkpoint."""
    start = table.get("start")
    if isinstance(start, str) and start:
        table["start"] = str(find_checkpoint(Path(start)))
        if table.get("net_from") == "start":
            return read_start_net(Path(table["start"]))
    return {"net": dump(NetConfig())}


def _check_layers(recipe: Recipe, name: str) -> None:
    """Raise BadInput where a rate or `take` names no layer, or where every layer is frozen."""
    layers = {name.partition(".")[0] for name in parameter_shapes(recipe.net)}
    if odd := {*recipe.take} - layers:
        raise BadInput(f"recipe {name}: take: the net has no layer {min(odd)!r}")
    if odd := recipe.optim.layers.keys() - layers:
        raise BadInput(f"recipe {name}: optim.layers: the net has no layer {min(odd)!r}")
    for event in recipe.events:
        if odd := {*event.frozen, *event.layer_lr} - layers:
            raise BadInput(f"recipe {name}: events: the net has no layer {min(odd)!r}")
    if any(recipe.optim.frozen.union(event.frozen) >= layers for event in (Event(0), *recipe.events)):
        raise BadInput(f"recipe {name}: every layer is frozen", "leave one to train")


def _scale_events(events: Sequence[Event], factor: float) -> tuple[Event, ...]:
    """Scale the epochs of events. An event after the first epoch or later stays there, however small the factor."""
    return tuple(
        dataclasses.replace(event, after=max(round(event.after * factor), min(event.after, 1))) for event in events
    )


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """Convert a recipe to plain data, with every default written out."""
    plain: dict[str, Any] = dump(recipe)
    return {key: value for key, value in plain.items() if value is not None}


def compare_recipes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, old value, new value) where two plain recipes differ; None stands for a missing key."""
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from compare_recipes(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", before, after
