"""The command line, `tencrop COMMAND`. A command imports its room when it runs."""

import sys

import typer

from tencrop.commands.card import card
from tencrop.commands.compare import compare
from tencrop.commands.evaluate import evaluate
from tencrop.commands.export import export
from tencrop.commands.import_net import import_
from tencrop.commands.info import info
from tencrop.commands.key import key
from tencrop.commands.predict import predict
from tencrop.commands.prepare import prepare
from tencrop.commands.recipes import recipes
from tencrop.commands.serve import serve
from tencrop.commands.train import train
from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.common.extras import install_line
from tencrop.common.standard_streams import open_closed_streams
from tencrop.common.terminal_text import escape_output, escape_text
from tencrop.images.pillow_warnings import filter_pillow_warnings
from tencrop.runtime.disable_telemetry import disable_telemetry

UsageError: type[Exception] = typer.BadParameter.__mro__[
    1
]  # click's base of all usage errors, which typer does not export

COMMANDS = (prepare, recipes, train, export, import_, info, card, serve, key, predict, evaluate, compare)

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Train, export, serve and measure the 2012 AlexNet."
)
for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)


def main() -> None:
    """Run a command. An error is one line on stderr and an exit code.

    The code is 2 for bad input, 1 for failed work, and 128 + the signal's number for a command that a signal stopped.
    """
    open_closed_streams()
    disable_telemetry()
    filter_pillow_warnings()
    escape_output()
    try:
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except UsageError as error:
        sys.exit(_fail(error.format_message(), 2))  # type: ignore[attr-defined]
    except BadInput as error:
        sys.exit(_fail(error, 2))
    except WorkFailed as error:
        sys.exit(_fail(error, 1))
    except Stopped as end:
        sys.exit(_fail(f"{end}; what was done is saved: go on with --resume", 128 + end.number))
    except OSError as error:  # a disk that is full, an --out that cannot be written
        sys.exit(_fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1))
    except ModuleNotFoundError as error:
        sys.exit(_fail(f"not installed: {error.name}; {install_line()}", 1))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code or 0)


def _fail(error: object, code: int) -> int:
    print(f"tencrop: {escape_text(' '.join(str(error).split()))}", file=sys.stderr)
    return code
