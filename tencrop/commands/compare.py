"""`tencrop compare`: two validations of the same images."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.output import echo_json
from tencrop.common.extras import require


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="a folder that `evaluate --out` wrote")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="another such folder, of the same images")],
    show: Annotated[
        int, typer.Option(metavar="N", min=0, help="list this many of the images whose top-1 label changed")
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Compare two validations of the same images.

    Prints errors with intervals, McNemar's test, and the images whose label changed.
    """
    require("evaluate")
    from tencrop.evaluation.compare import compare as run
    from tencrop.evaluation.finished_run import open_run
    from tencrop.evaluation.text_comparison import text_comparison

    found = run(open_run(run_a), open_run(run_b), show)
    if as_json:
        echo_json(found, indent=1)
    else:
        typer.echo(text_comparison(found))
