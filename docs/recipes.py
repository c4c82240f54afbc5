"""python docs/recipes.py: writes docs/recipes.md, the recipes and every field of a recipe, from the code."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tencrop.training.recipe import load
from tencrop.training.recipe_fields import RecipeField, describe_fields
from tencrop.training.recipe_table import recipe_names

PAGE = """# Recipes

    tencrop recipes             # the recipes, one a line
    tencrop recipes --fields    # every field, one a line

A recipe is a TOML file. [train.md](train.md) says how to choose one and how to change a field.
`python docs/recipes.py` writes this page from the recipes and from the comments behind fields.

## The recipes

They lie in `training/recipes/`. `tencrop train` takes a name or the path of a TOML file.

{recipes}

## The starred nets of table 2

The paper pre-trained two nets with a sixth convolutional layer on ImageNet's Fall 2011 release and
fine-tuned them on ILSVRC-2012. It says no more. The logs of the 2012 program's net 146 say the rest:

| recipe | its data | it begins with | epochs in the log |
| --- | --- | --- | --- |
| `pretrain146_2009` | Fall 2009, 10,184 classes | conv1 to conv5 of `source145` | 6.65 |
| `pretrain146` | Fall 2011, 21,843 classes | conv1 to conv6 of `pretrain146_2009` | 8.11 |
| `finetune146` | ILSVRC-2012 | all of `pretrain146` but fc8 | 54 |

    tencrop train source145 --data ilsvrc2012 --out runs/145
    tencrop train pretrain146_2009 --data fall2009 --start runs/145 --out runs/fall2009
    tencrop train pretrain146 --data fall2011 --start runs/fall2009 --out runs/fall2011
    tencrop train finetune146 --data ilsvrc2012 --start runs/fall2011 --out runs/starred

A start without one of those layers is refused. `--set take=[]` trains such a net from scratch.

- **Known:** the layers, where they began, the rates and when they changed: by the configuration files
  `layers-146-*.cfg` and the notes below `layer-params-146-*.cfg`.
- **Our choice:** whole numbers of epochs, with changes between epochs. One rate for all biases,
  where the logs have another one in conv6. No bias between the two matrices of fc8 in `pretrain146`.
- **Not known:** which net was the second of the two that the average of seven holds. A net of
  another `seed` stands in for it.

## Every field

- A dot in a name is a table: `optim.lr` is `lr` in the table `[optim]`.
- `events[].after` stands in each table `[[events]]`.
- `--set NAME=VALUE` takes every name without `[]`, except `base`. An array is set whole, as TOML
  writes it: `--set 'events=[{{after=24, divide=10.0}}]'`.
- An unknown name or a value of another type is an error. A `number` takes `1` and `1.0`.
- The last column names the part of the paper that the field is from ([paper.md](paper.md)).

{fields}
"""


def write_page() -> str:
    """Write the page -> Markdown."""
    recipes = [(f"`{name}`", load(name).about) for name in recipe_names()]
    fields = [(f"`{name}`", *rest) for name, *rest in describe_fields()]
    return PAGE.format(recipes=_table(("recipe", "what it is"), recipes), fields=_table(RecipeField._fields, fields))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    (Path(__file__).parent / "recipes.md").write_text(write_page(), encoding="utf-8")
