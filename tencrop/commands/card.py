"""`tencrop card`: a model's README.md for the Hugging Face hub."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.model.embedded import EMBEDDED


def card(
    model: Annotated[
        Path, typer.Argument(help="a tencrop.onnx, or its folder; by default the embedded model")
    ] = EMBEDDED,
    summary: Annotated[
        Path | None, typer.Option(help="summary.json of its validation; by default the one beside it")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="the checkpoint that it was made of, which knows how it was trained")
    ] = None,
) -> None:
    """Print a model card in the Hugging Face hub's form: what the model is, its errors, how it was trained."""
    from tencrop.model.model_card import make_card
    from tencrop.model.tencropfile import TenCropFile

    typer.echo(make_card(TenCropFile.read(model), summary, checkpoint).encode(), nl=False)
