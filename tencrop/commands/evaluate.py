"""`tencrop evaluate`: the errors of a model over labelled images."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.corruptions import Corrupt, Frost, Severity, echo_corruptions, read_conditions, run_conditions
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
    PrecisionChoice,
    Streams,
    Words,
    Workers,
    engine_options,
)
from tencrop.commands.output import echo, echo_json, say_next
from tencrop.commands.progress import show_progress
from tencrop.common.errors import BadInput, Stopped
from tencrop.common.extras import require
from tencrop.model.embedded import EMBEDDED

log = logging.getLogger(__name__)


def evaluate(
    data: Data,
    model: Annotated[
        list[Path] | None,
        typer.Option(metavar="MODEL", help="a tencrop.onnx, or an ensemble; default: embedded model"),
    ] = None,
    labels: Words = None,
    list_: ListFile = None,
    config: Config = None,
    image_root: ImageRoot = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder for the report; without it nothing is kept")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="evaluate this many images, evenly spread")
    ] = None,
    holdout: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="share of each class to evaluate if DATA has no split, as `prepare` had it",
        ),
    ] = 1,
    corrupt: Corrupt = None,
    severity: Severity = None,
    frost: Frost = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue a stopped run")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="run on RAY_ADDRESS's cluster, which sees DATA and --out")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print summary.json")] = False,
    workers: Workers = None,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
    streams: Streams = 1,
    deterministic: Deterministic = False,
) -> None:
    """Measure the errors of a model over labelled images.

    The images are the data set's validation images, if it has any. Errors are those of the center crop and of ten
    crops.
    """
    require("ray" if ray else "evaluate")
    from tencrop.dataset.source_options import SourceOptions
    from tencrop.evaluation.evaluate import evaluate as run
    from tencrop.evaluation.plan import plan_evaluation
    from tencrop.evaluation.text_report import text_report
    from tencrop.images.decode_processes import choose_count
    from tencrop.runtime.cores import cores
    from tencrop.runtime.ensemble import open_predictor

    models = model or [EMBEDDED]
    if ray and not out:
        raise BadInput("--ray: needs --out DIR, a folder that every machine of the cluster sees")
    if ray and workers is not None:
        raise BadInput("--workers: does not apply with --ray, whose actors are processes", "set EVALUATE_ACTORS")
    if resume and not out:
        raise BadInput("--resume: needs --out DIR, the folder of the run to continue")
    conditions = read_conditions(corrupt, severity, frost, ray)
    count = choose_count(workers, cores())
    options = SourceOptions(labels, list_, config, image_root, image_column, label_column)
    source = open_source(data, options, training=False)
    predictor = open_predictor(models, engine_options(device, engine, precision, streams, deterministic))
    if frost:
        from tencrop.images.corruptions.frost_photographs import check_photographs

        check_photographs(frost, predictor.contract.resize)
    plan = plan_evaluation(source, predictor, holdout, limit)
    runner = None
    if ray and out:
        from tencrop.evaluation.ray import make_ray_runner

        runner = make_ray_runner(plan, predictor, models, out)
    try:
        with show_progress("evaluating", len(plan.entries)) as progress:
            summary = run(plan, predictor, out, resume, progress, runner, count)
        corrupted = run_conditions(plan, predictor, summary, conditions, frost, out, resume, count)
    except KeyboardInterrupt:
        if out:
            raise Stopped("stopped", number=signal.SIGINT) from None
        raise
    if as_json:
        echo_json(summary.to_json() | ({"corruptions": corrupted.to_json()} if corrupted else {}), indent=1)
    else:
        echo(*text_report(summary).split("\n"))
        if corrupted:
            echo_corruptions(corrupted)
    if out:
        log.info("%s: report.html, summary.json and predictions.parquet are written", out)
        if corrupted:
            log.info("%s: report.html, corruptions.json and predictions.parquet are written", out / "corruptions")
        say_next("compare", out, "ANOTHER_RUN")
    else:
        log.info("nothing is kept; --out DIR keeps a report with every image")
