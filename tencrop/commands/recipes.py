"""`tencrop recipes`: the recipes, or every field of a recipe."""

import sys
from typing import Annotated

import typer

PIPE_WIDTH = 400  # columns where stdout is no terminal: a row is a line, for grep


def recipes(
    fields: Annotated[
        bool, typer.Option("--fields", help="every field instead: type, default, meaning and section of the paper")
    ] = False,
) -> None:
    """List the recipes, or the fields that they and `--set` take."""
    from rich.console import Console
    from rich.table import Table

    from tencrop.training.recipe import load
    from tencrop.training.recipe_fields import RecipeField, describe_fields
    from tencrop.training.recipe_table import recipe_names

    columns = RecipeField._fields if fields else ("recipe", "what it is")
    rows = describe_fields() if fields else [(name, load(name).about) for name in recipe_names()]
    table = Table(*columns, box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(markup=False, highlight=False, width=width).print(table)
