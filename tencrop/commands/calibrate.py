"""`tencrop calibrate`: how sure a model's answers are, written into a copy of its file."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.open_source import open_source
from tencrop.commands.options import (
    Config,
    Data,
    Device,
    EngineChoice,
    ImageColumn,
    ImageRoot,
    LabelColumn,
    ListFile,
    PrecisionChoice,
    Words,
    Workers,
    engine_options,
)
from tencrop.commands.output import echo, say_next
from tencrop.commands.progress import show_progress
from tencrop.common.atomic import atomic_path
from tencrop.common.errors import BadInput
from tencrop.common.extras import require

log = logging.getLogger(__name__)


def calibrate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a tencrop.onnx, or its folder")],
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            metavar="MODEL2", help="the calibrated file: a name ending in .onnx, or a folder for tencrop.onnx"
        ),
    ],
    prepared: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="the prepared data set of the training, whose training images are refused"),
    ] = None,
    holdout: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="share of each class to take if DATA has no split, as `prepare` had it",
        ),
    ] = 1,
    labels: Words = None,
    list_: ListFile = None,
    config: Config = None,
    image_root: ImageRoot = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    workers: Workers = None,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """Measure how sure a model's answers are.

    A copy of the model's file says so afterwards; graph and weights stay the same bytes. The images are labelled ones
    that the net was not trained on: the data set's validation images, if it has any.
    """
    require("evaluate")
    from tencrop.dataset.separate_output import check_separate
    from tencrop.dataset.source_options import SourceOptions
    from tencrop.evaluation.calibrate import collect_answers, fit_calibration, format_calibration, plan_calibration
    from tencrop.evaluation.confidence_fit import FITS
    from tencrop.evaluation.trained_images import check_unseen
    from tencrop.images.decode_processes import choose_count
    from tencrop.model.tencropfile import add_calibration
    from tencrop.runtime.classifier import open_classifier
    from tencrop.runtime.cores import cores

    target = out if out.suffix == ".onnx" else out / "tencrop.onnx"
    if target.exists():
        raise BadInput(f"{target}: exists already", "choose another --out")
    check_separate(data, target)
    options = SourceOptions(labels, list_, config, image_root, image_column, label_column)
    source = open_source(data, options, training=False)
    with open_classifier(model, engine_options(device, engine, precision)) as classifier:
        plan = plan_calibration(source, classifier, holdout)
        if prepared:
            check_unseen(plan, classifier.contract, prepared)
        else:
            log.warning("not checked whether the net was trained on these images; --prepared DIR does")
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as partial:
            partial.touch()  # an --out that cannot be written is told before the work
            with show_progress("answering", len(plan.entries)) as progress:
                answers = collect_answers(plan, classifier, progress, choose_count(workers, cores()))
            with show_progress("fitting", len(FITS), "maps") as progress:
                found = fit_calibration(answers, plan, classifier, progress)
            partial.write_bytes(add_calibration(classifier.file.graph, found))
    echo(*format_calibration(found, answers, len(plan.entries) - found.n))
    log.info("%s is written", target)
    say_next("serve", out)
