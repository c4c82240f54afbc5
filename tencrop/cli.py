"""The command line, `tencrop COMMAND`. A command imports its room when it runs."""

import logging
import sys
from typing import Annotated

import typer

import tencrop
from tencrop.commands.command_groups import GROUPS, CommandGroups, name_command
from tencrop.commands.output import print_error
from tencrop.commands.verbosity import set_verbosity, with_verbosity
from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.common.extras import install_line
from tencrop.common.standard_streams import open_closed_streams
from tencrop.common.terminal_text import escape_output
from tencrop.images.pillow_warnings import filter_pillow_warnings
from tencrop.runtime.disable_telemetry import disable_telemetry

UsageError: type[Exception] = typer.BadParameter.__mro__[
    1
]  # click's base of all usage errors, which typer does not export

log = logging.getLogger(__name__)

app = typer.Typer(
    cls=CommandGroups,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # one line an option: boxes take twice the lines
    pretty_exceptions_enable=False,
)
for command in (command for commands in GROUPS.values() for command in commands):
    app.command(name_command(command))(with_verbosity(command))


def print_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        typer.echo(f"tencrop {tencrop.__version__}")
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train, export, serve and measure the AlexNet of 2012, as its authors trained and tested it.

    A model is one ONNX file. It answers with the mean over ten crops of the image. A net that knows the 101 classes of
    Caltech-101 is installed, so `tencrop predict photo.jpg` and `tencrop serve` work at once.
    `tencrop COMMAND -h` shows the options of a command.
    """


def main() -> None:
    """Run a command. An error is one line on stderr and an exit code.

    The code is 2 for bad input, 1 for failed work, and 128 + the signal's number for a command that a signal stopped.
    """
    open_closed_streams()
    disable_telemetry()
    filter_pillow_warnings()
    escape_output()
    set_verbosity()
    logging.raiseExceptions = False  # a log that cannot be written stops no command
    try:
        code = app(args=sys.argv[1:] or ["--help"], prog_name="tencrop", standalone_mode=False)
    except UsageError as error:
        sys.exit(_fail(error.format_message(), 2))  # type: ignore[attr-defined]
    except BadInput as error:
        sys.exit(_fail(error, 2))
    except WorkFailed as error:
        sys.exit(_fail(error, 1))
    except Stopped as end:
        sys.exit(_fail(end, 128 + end.number))
    except OSError as error:  # a disk that is full, an --out that cannot be written
        sys.exit(_fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1))
    except ModuleNotFoundError as error:
        sys.exit(_fail(f"not installed: {error.name}; {install_line()}", 1))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code or 0)


def _fail(error: object, code: int) -> int:
    print_error(error)
    log.debug("where it was raised", exc_info=True)
    return code
