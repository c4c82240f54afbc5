"""`tencrop info`: what a file holds."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.output import echo, echo_json
from tencrop.model.embedded import EMBEDDED


def info(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="an ONNX file, the folder of a tencrop.onnx, a checkpoint or a run; default: the embedded model",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Print what a model or a checkpoint holds.

    That is its contract, labels, recipe, parity, norms, opset, bytes and parameters.
    """
    from tencrop.export.describe_file import describe_file, format_description

    described = describe_file(file or EMBEDDED)
    if as_json:
        echo_json(described, indent=1)
    else:
        echo(*format_description(described))
