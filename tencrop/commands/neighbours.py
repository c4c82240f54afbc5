"""`tencrop neighbours`: the images whose features are nearest to an image's."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.image_arguments import open_image
from tencrop.commands.options import Device, EngineChoice, Model, PrecisionChoice, engine_options
from tencrop.commands.output import echo, echo_json
from tencrop.common.extras import require
from tencrop.images.pillow_warnings import silence_libtiff
from tencrop.model.embedded import EMBEDDED


def neighbours(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="an image file, or - for stdin")],
    file: Annotated[Path, typer.Option("--in", metavar="FILE", help="what `tencrop features` wrote")],
    top: Annotated[int, typer.Option(metavar="N", min=1, help="number of images")] = 6,
    model: Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """Find the images that are nearest to an image.

    Near is a small distance of the features. The search is exact, as in figure 4 of the paper.
    """
    require("evaluate")
    from tencrop.evaluation.feature_file import FeatureFile
    from tencrop.evaluation.neighbours import describe_image, find_neighbours
    from tencrop.runtime.classifier import open_classifier

    silence_libtiff()
    opened = FeatureFile.open(file)
    with open_classifier(model or EMBEDDED, engine_options(device, engine, precision), opened.origin.layer) as net:
        described = describe_image(open_image(image, sys.stdin.buffer), net, opened)
    found = find_neighbours(described, opened, top)
    if as_json:
        echo_json({"image": image, "neighbours": [each._asdict() for each in found]})
    else:
        echo(*(f"{each.distance:8.2f}  {each.label}  {each.id}" for each in found))
