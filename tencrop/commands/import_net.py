"""`tencrop import`: another project's net into net.onnx and tencrop.onnx."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.options import Hub
from tencrop.commands.output import echo, echo_sizes, say_next
from tencrop.common.extras import require


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="an ONNX classifier, its folder with Hugging Face's config.json and preprocessor_config.json, "
            "torchvision's alexnet (.pth, .ckpt, .safetensors), or a .caffemodel",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="folder for the files")],
    mean: Annotated[
        str | None, typer.Option(help="mean that is subtracted, such as 0.485,0.456,0.406, or Caffe's .binaryproto")
    ] = None,
    std: Annotated[str | None, typer.Option(help="divisor after the mean, such as 0.229,0.224,0.225")] = None,
    scale: Annotated[float | None, typer.Option(help="factor on pixels 0..255, before the mean")] = None,
    channels: Annotated[str | None, typer.Option(help="rgb or bgr: the order of the input, of mean and of std")] = None,
    layout: Annotated[str | None, typer.Option(help="nchw or nhwc")] = None,
    crop: Annotated[
        int | None, typer.Option(help="side of the net's input in pixels, where the file does not say")
    ] = None,
    resize: Annotated[int | None, typer.Option(help="side in pixels of the image that crops are cut from")] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="bilinear or bicubic: of the resizing, as the net was trained")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help='class names by output: lines "wnid words", one name a line, or JSON of Keras or Hugging Face'
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(help="logits or probabilities; or the name of the scores, where there are other outputs"),
    ] = None,
    hub: Hub = False,
) -> None:
    """Convert the net of another project.

    net.onnx and tencrop.onnx are written only if onnxruntime and OpenVINO give the net's answers. An AlexNet gets
    checkpoint/ too, so that it can be trained and made smaller.
    """
    require("evaluate", "cpu")
    from tencrop.export.importers.input_convention import parse_input_convention
    from tencrop.export.importers.run import format_import, import_net

    options = parse_input_convention(
        mean,
        std,
        scale=scale,
        channels=channels,
        layout=layout,
        crop=crop,
        resize=resize,
        filter=filter_,
        output=output,
    )
    echo(*format_import(import_net(source, out, options, labels, hub)))
    echo_sizes(out)
    say_next("evaluate", "DATA", "--model", out)
    say_next("serve", out)
