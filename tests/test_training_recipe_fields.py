"""training/recipe_fields.py: every field of a recipe is a row, with its default, type, meaning and paper section."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump
from tencrop.model.net_config import Conv, NetConfig
from tencrop.training.recipe import Plateau, Recipe, load
from tencrop.training.recipe_fields import PAPER, describe_fields
from tencrop.training.recipe_table import RECIPES

PAPER_PAGE = (Path(__file__).parents[1] / "docs" / "paper.md").read_text(encoding="utf-8")
FIELDS = {field.name: field for field in describe_fields()}
UNSTORED = {  # where they have their defaults
    *("take", "net_from", "statistics_from", "optim.layers"),
    *("net.scale", "net.pooldown.size", "net.pooldown.stride", "net.dropout.inverted"),
}
REQUIRED = {"name", "about", "epochs", "net.conv6.channels", "net.conv6.kernel"}
OPTIONAL = {"base", "plateau", "net.conv6"}  # where a recipe lacks the table, its fields are not there either


def flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted name with its value; in an array of tables a name has [] behind the array's."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in ("events[].layer_lr", "optim.layers"):
            yield from flatten(value, f"{name}.")
            continue
        yield name, value
        if isinstance(value, list):
            for each in value:
                yield from flatten(each, f"{name}[].") if isinstance(each, dict) else ()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_key_of_a_shipped_recipe_is_a_row(path: Path) -> None:
    assert {name for name, _ in flatten(tomllib.loads(path.read_text(encoding="utf-8")))} <= FIELDS.keys()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_field_of_a_whole_recipe_is_a_row(path: Path) -> None:
    assert {name for name, _ in flatten(dump(load(path.stem)))} <= FIELDS.keys()


def test_the_defaults_are_those_of_a_recipe_that_sets_nothing() -> None:
    net = NetConfig(conv6=Conv(256, 3))
    whole = dict(flatten(dump(Recipe(name="x", about="y", epochs=10, net=net, plateau=Plateau()))))
    shown = {
        name: tomllib.loads(f"x = {field.default}")["x"]
        for name, field in FIELDS.items()
        if "[]" not in name and name not in UNSTORED and field.default not in ("none", "required")
    }
    assert shown == {name: value for name, value in whole.items() if name not in REQUIRED}
    assert {name for name, field in FIELDS.items() if field.default == "none"} == OPTIONAL
    required = {"events[].after", *(f"expect[].{key}" for key in ("data", "views", "top1", "top5"))}
    assert {name for name, field in FIELDS.items() if field.default == "required"} == required | REQUIRED


def test_every_field_has_a_meaning_and_a_section_that_the_page_of_the_paper_has() -> None:
    sections = set(re.findall(r"^#+ (\d(?:\.\d)?) ", PAPER_PAGE, re.MULTILINE))
    for field in FIELDS.values():
        assert len(field.meaning) > 5 and not re.search(rf"\({PAPER}\)", field.meaning), field
        assert not field.paper or re.fullmatch(PAPER, field.paper), field
        assert set(re.findall(r"section (\S+)", field.paper)) <= sections, field
    assert (FIELDS["augment.noise"].paper, FIELDS["net.fc6.init_std"].paper) == ("section 4.1", "section 5")
    assert FIELDS["compile"].paper == ""


def test_set_takes_every_name_outside_of_arrays_with_its_default() -> None:
    unset = REQUIRED | OPTIONAL
    defaults = [f"{name}={field.default}" for name, field in FIELDS.items() if "[]" not in name and name not in unset]
    conv6 = ["net.conv6.channels=256", "net.conv6.kernel=3"]
    assert load("paper", defaults + conv6) == load("paper", ["net.lrn.alpha_divided=true", "expect=[]", *conv6])


@pytest.mark.parametrize(
    ("name", "kind", "refused"),
    [
        ("optim.batch", "integer from 1", "0"),
        ("optim.lr", "number from 0", "-0.1"),
        ("plateau.divide", "number above 0", "0.0"),
        ("net.dropout.p", "number from 0 below 1", "1.0"),
        ("net.conv1.pad", "array of 2: integer from 0", "[0]"),
        ("net.layers", "array of strings", "[1]"),
        ("augment.crops", "boolean", "1"),
        ("mean", "aligned, center", "middle"),
        ("plateau", "table", "3"),
        ("events", "array of tables", "[3]"),
    ],
)
def test_a_value_beyond_the_shown_type_is_refused(name: str, kind: str, refused: str) -> None:
    assert FIELDS[name].type == kind
    with pytest.raises(BadInput, match=re.escape(name)):
        load("paper", [f"{name}={refused}"])
