"""`tencrop export`: a checkpoint into net.onnx and tencrop.onnx."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.options import Hub
from tencrop.commands.output import echo, echo_sizes, say_next
from tencrop.common.extras import require
from tencrop.model.embedded import EMBEDDED


def export(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="a checkpoint folder, a run folder for its newest, or an imported net; default: the embedded net's",
        ),
    ] = None,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="folder for the files")] = Path("out"),
    weights: Annotated[str, typer.Option(metavar="NAME", help="fp32, fp16 or int8")] = "fp32",
    fc_rank: Annotated[
        int, typer.Option(metavar="N", min=0, help="factorise fc6 and fc7 to this rank; 0 leaves them")
    ] = 0,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="folder of photographs that parity is measured on and int8 is calibrated on"),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="compute each view by itself, even where views can share the first layers")
    ] = False,
    features: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="also give the features of a layer: fc7, fc6 or pool5; once for each"),
    ] = None,
    hub: Hub = False,
) -> None:
    """Write a trained net as net.onnx and tencrop.onnx.

    Both are written only if onnxruntime and OpenVINO give torch's answers (int8: nearly).
    """
    require("train", "cpu")
    from tencrop.export.run import export as run

    source = checkpoint or EMBEDDED / "checkpoint"
    echo(
        *run(source, out, weights, fc_rank, images, plain, hub, tuple(dict.fromkeys(features or ())))
        .format()
        .split("\n")
    )
    echo_sizes(out)
    say_next("evaluate", "DATA", "--model", out)
    say_next("serve", out)
