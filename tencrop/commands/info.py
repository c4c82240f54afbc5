"""`tencrop info`: what a file holds."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.output import echo, echo_json
from tencrop.model.embedded import EMBEDDED


def info(
    file: Annotated[
        Path,
        typer.Argument(
            help="an ONNX file, a folder with a tencrop.onnx, or a checkpoint folder; by default the embedded model"
        ),
    ] = EMBEDDED,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Print what a file holds: contract, labels, recipe, parity, norms, opset, bytes, parameters."""
    from tencrop.export.describe_file import describe_file, format_description

    described = describe_file(file)
    if as_json:
        echo_json(described, indent=1)
    else:
        echo(*format_description(described))
