"""`tencrop features`: the features of images, for retrieval and for classifiers of one's own."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.open_source import open_source
from tencrop.commands.options import (
    Config,
    Data,
    Deterministic,
    Device,
    EngineChoice,
    ImageColumn,
    ImageRoot,
    LabelColumn,
    ListFile,
    Model,
    PrecisionChoice,
    Words,
    Workers,
    engine_options,
)
from tencrop.commands.output import echo, say_next
from tencrop.commands.progress import show_progress
from tencrop.common.errors import Stopped
from tencrop.common.extras import require
from tencrop.model.embedded import EMBEDDED

log = logging.getLogger(__name__)


def features(
    data: Data,
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="the file to write")],
    layer: Annotated[str, typer.Option(metavar="LAYER", help="fc7, fc6 or pool5")] = "fc7",
    views: Annotated[
        str, typer.Option(metavar="NAME", help="center: of the center crop; ten: the mean over the ten views")
    ] = "center",
    model: Model = None,
    labels: Words = None,
    list_: ListFile = None,
    config: Config = None,
    image_root: ImageRoot = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue a stopped run")] = False,
    workers: Workers = None,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
    deterministic: Deterministic = False,
) -> None:
    """Write the features of images to a parquet file.

    Features are the values of a hidden layer. Columns are id, label and features, a list of float32. Every image of
    DATA is taken, whatever its split.
    """
    require("evaluate")
    from tencrop.dataset.source_options import SourceOptions
    from tencrop.evaluation.features import extract_features, plan_features
    from tencrop.images.decode_processes import choose_count
    from tencrop.runtime.classifier import open_classifier
    from tencrop.runtime.cores import cores

    options = SourceOptions(labels, list_, config, image_root, image_column, label_column)
    plan = plan_features(open_source(data, options, training=False))
    chosen = engine_options(device, engine, precision, deterministic=deterministic)
    count = choose_count(workers, cores())
    try:
        with (
            open_classifier(model or EMBEDDED, chosen, layer) as classifier,
            show_progress("computing", len(plan.entries)) as progress,
        ):
            account = extract_features(plan, classifier, layer, views, out, resume, progress, count)
    except KeyboardInterrupt:
        raise Stopped("stopped", number=signal.SIGINT) from None
    echo(*account.format())
    log.info("%s is written", out)
    say_next("neighbours", "IMAGE", "--in", out)
