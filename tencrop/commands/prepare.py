"""`tencrop prepare`: a data set into a prepared store."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.open_source import open_source
from tencrop.commands.options import Config, Data, ImageColumn, ImageRoot, LabelColumn, ListFile, Words, Workers
from tencrop.commands.output import echo, say_next
from tencrop.commands.progress import show_progress
from tencrop.common.errors import Stopped
from tencrop.common.extras import require


def prepare(
    data: Data,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="folder for the prepared data set; an unfinished one is continued")
    ],
    labels: Words = None,
    list_: ListFile = None,
    config: Config = None,
    image_root: ImageRoot = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    holdout: Annotated[
        float,
        typer.Option(
            metavar="SHARE", min=0, max=0.9, help="share of each class kept for validation, if DATA has no split"
        ),
    ] = 0.15,
    store: Annotated[
        str, typer.Option(metavar="NAME", help="jpeg (small), or raw (pixels in one file: five times the bytes)")
    ] = "jpeg",
    filter_: Annotated[
        str, typer.Option("--filter", metavar="NAME", help="of the resizing: bilinear, or bicubic")
    ] = "bilinear",
    workers: Workers = None,
) -> None:
    """Turn a data set into what `train` reads.

    That is a folder of 256x256 images with their mean image and colour PCA.
    """
    require("evaluate")
    from tencrop.dataset.account import Account
    from tencrop.dataset.prepare import prepare as run
    from tencrop.dataset.source_options import SourceOptions
    from tencrop.images.decode_processes import choose_count
    from tencrop.runtime.cores import cores

    count = choose_count(workers, cores())
    source = open_source(data, SourceOptions(labels, list_, config, image_root, image_column, label_column))
    with show_progress("preparing", len(source.entries)) as progress:
        try:
            document = run(source, out, holdout, progress, store, count, filter_)
        except KeyboardInterrupt:
            raise Stopped("stopped", "what is done is kept: run it again to go on", signal.SIGINT) from None
    form = f"JPEG of quality {document.quality}" if document.quality else "raw pixels"
    echo(
        f"{out}: {len(source.labels)} classes, "
        f"{document.training} training and {document.validation} validation images, "
        f"{len(document.undecodable)} undecodable, "
        f"{document.bytes_per_image} bytes an image as {form}",
        *Account.from_json(document.account).format(),
    )
    say_next("train", "caltech101", "--data", out, "--out", "runs/caltech101")
