"""`tencrop prepare`: a data set into a prepared store."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.open_source import open_source
from tencrop.commands.options import Config, Data, ImageColumn, ImageRoot, LabelColumn, ListFile, Words
from tencrop.commands.output import echo
from tencrop.common.extras import require
from tencrop.progress_bar import progress_bar


def prepare(
    data: Data,
    out: Annotated[Path, typer.Argument(help="folder for the prepared data set; an unfinished one is continued")],
    labels: Words = None,
    list_: ListFile = None,
    config: Config = None,
    image_root: ImageRoot = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    holdout: Annotated[
        float, typer.Option(min=0, max=0.9, help="share of each class kept for validation, if DATA has no split")
    ] = 0.15,
) -> None:
    """Turn a data set into 256x256 JPEGs with its mean image and colour PCA."""
    require("evaluate")
    from tencrop.dataset.account import Account
    from tencrop.dataset.prepare import prepare as run
    from tencrop.dataset.source_options import SourceOptions

    source = open_source(data, SourceOptions(labels, list_, config, image_root, image_column, label_column))
    with progress_bar("preparing", len(source.entries)) as progress:
        document = run(source, out, holdout, progress)
    echo(
        f"{out}: {len(source.labels)} classes, "
        f"{document.training} training and {document.validation} validation images, "
        f"{len(document.undecodable)} undecodable, "
        f"{document.bytes_per_image} bytes an image as JPEG of quality {document.quality}",
        *Account.from_json(document.account).format(),
    )
