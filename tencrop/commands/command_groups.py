"""All commands, by what they are for, in the order of `tencrop --help`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from typer.core import TyperGroup

from tencrop.commands.calibrate import calibrate
from tencrop.commands.card import card
from tencrop.commands.compare import compare
from tencrop.commands.evaluate import evaluate
from tencrop.commands.export import export
from tencrop.commands.features import features
from tencrop.commands.import_net import import_
from tencrop.commands.info import info
from tencrop.commands.key import key
from tencrop.commands.neighbours import neighbours
from tencrop.commands.predict import predict
from tencrop.commands.prepare import prepare
from tencrop.commands.recipes import recipes
from tencrop.commands.serve import serve
from tencrop.commands.train import train

GROUPS: Mapping[str, Sequence[Callable[..., None]]] = {
    "Use a net": (predict, serve, key, features, neighbours),
    "Measure a net": (evaluate, compare, calibrate, info),
    "Make a net": (prepare, recipes, train, export, import_, card),
}


def name_command(command: Callable[..., None]) -> str:
    """The name on the command line: that of the function, but for Python's own word `import`."""
    return command.__name__.rstrip("_")


class CommandGroups(TyperGroup):
    """Shows the commands in GROUPS."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name, self.commands[name].get_short_help_str(60)) for name in map(name_command, commands)]
                )
