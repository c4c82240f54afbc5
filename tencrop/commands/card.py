"""`tencrop card`: a model's README.md for the Hugging Face hub."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.model.embedded import EMBEDDED


def card(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL", help="a tencrop.onnx, or its folder; default: the embedded model"),
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="summary.json of its validation; by default the one beside it")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="its checkpoint or run folder, which knows how it was trained"),
    ] = None,
) -> None:
    """Print a model card in the Hugging Face hub's form.

    It says what the model is, how often it errs, and how it was trained.
    """
    from tencrop.model.model_card import make_card
    from tencrop.model.tencropfile import TenCropFile

    typer.echo(make_card(TenCropFile.read(model or EMBEDDED), summary, checkpoint).encode(), nl=False)
