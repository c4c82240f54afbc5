"""`tencrop predict`: the labels of images."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.options import Device, EngineChoice, PrecisionChoice, engine_options
from tencrop.commands.output import echo, echo_json
from tencrop.images.pillow_warnings import silence_libtiff
from tencrop.model.embedded import EMBEDDED


def predict(
    images: Annotated[list[Path], typer.Argument(help="image files")],
    model: Annotated[Path, typer.Option(help="a tencrop.onnx, or its folder")] = EMBEDDED,
    top: Annotated[int, typer.Option(min=1, help="number of labels")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object per image")] = False,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """Name what images show."""
    from tencrop.runtime.classifier import open_classifier

    silence_libtiff()
    with open_classifier(model, engine_options(device, engine, precision)) as classifier:
        for path in images:
            guesses = classifier.predict(path, top).top
            if as_json:
                found = [{"id": guess.id, "label": guess.label, "probability": guess.probability} for guess in guesses]
                echo_json({"image": str(path), "top": found})
            else:
                echo(str(path), *(f"  {guess.probability:6.1%}  {guess.label}" for guess in guesses))
