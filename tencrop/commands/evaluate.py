"""`tencrop evaluate`: the errors of a model over labelled images."""

import json
import logging
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tencrop.commands.corruptions import Corrupt, Frost, Severity, echo_corruptions, read_conditions, run_conditions
from tencrop.commands.open_source import open_source
from tencrop.commands.options import (
    DATA_HELP,
    Config,
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
from tencrop.commands.several_sets import SeveralSets
from tencrop.common.atomic import write_atomic
from tencrop.common.errors import BadInput, Stopped
from tencrop.common.extras import require
from tencrop.model.embedded import EMBEDDED

if TYPE_CHECKING:
    from tencrop.evaluation.corruption.summary import CorruptionSummary
    from tencrop.evaluation.summary import Summary

log = logging.getLogger(__name__)

DataSets = Annotated[list[Path], typer.Argument(metavar="DATA", help=DATA_HELP)]


def evaluate(
    data: DataSets,
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
    real_labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="real.json of ImageNet-ReaL, with all right labels")
    ] = None,
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
    crops. Several DATA give one table.
    """
    require("ray" if ray else "evaluate")
    from tencrop.dataset.real_labels import read_real_labels
    from tencrop.dataset.source_options import SourceOptions
    from tencrop.evaluation.evaluate import evaluate as run
    from tencrop.evaluation.plan import plan_evaluation
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
    sets = SeveralSets(data)
    real = read_real_labels(real_labels) if real_labels else None
    options = SourceOptions(labels, list_, config, image_root, image_column, label_column)
    sources = sets.each(sets.folders, lambda name: open_source(sets.folders[name], options, training=False))
    predictor = open_predictor(models, engine_options(device, engine, precision, streams, deterministic))
    if frost:
        from tencrop.images.corruptions.frost_photographs import check_photographs

        check_photographs(frost, predictor.contract.resize)
    plans = sets.each(sources, lambda name: plan_evaluation(sources[name], predictor, holdout, limit, real))

    def evaluate_set(name: str) -> Result:
        plan, folder = plans[name], out / name if out and len(data) > 1 else out
        runner = None
        if ray and folder:
            from tencrop.evaluation.ray import make_ray_runner

            runner = make_ray_runner(plan, predictor, models, folder)
        title = f"evaluating {name}" if len(data) > 1 else "evaluating"
        with show_progress(title, len(plan.entries)) as progress:
            summary = run(plan, predictor, folder, resume, progress, runner, count)
        return Result(summary, run_conditions(plan, predictor, summary, conditions, frost, folder, resume, count))

    try:
        results = sets.each(plans, evaluate_set)
    except KeyboardInterrupt:
        if out:
            raise Stopped("stopped", number=signal.SIGINT) from None
        raise
    if len(data) > 1:
        _show_table(results, sets.errors, out, as_json)
    else:
        (result,) = results.values()
        _show_result(result, out, as_json)


class Result(NamedTuple):
    """What is measured on one data set."""

    summary: "Summary"
    corrupted: "CorruptionSummary | None"

    def to_json(self) -> dict[str, Any]:
        """The summary.json and, where there are any, the errors under corruptions."""
        return self.summary.to_json() | ({"corruptions": self.corrupted.to_json()} if self.corrupted else {})


def _show_result(result: Result, out: Path | None, as_json: bool) -> None:
    from tencrop.evaluation.text_report import text_report

    if as_json:
        echo_json(result.to_json(), indent=1)
    else:
        echo(*text_report(result.summary).split("\n"))
        if result.corrupted:
            echo_corruptions(result.corrupted)
    if out:
        log.info("%s: report.html, summary.json and predictions.parquet are written", out)
        if result.corrupted:
            log.info("%s: report.html, corruptions.json and predictions.parquet are written", out / "corruptions")
        say_next("compare", out, "ANOTHER_RUN")
    else:
        log.info("nothing is kept; --out DIR keeps a report with every image")


def _show_table(results: Mapping[str, Result], errors: Mapping[str, str], out: Path | None, as_json: bool) -> None:
    """Print the table of several data sets, and write it to `out`. Raises Exit with code 1 where one had an error."""
    from tencrop.evaluation.set_table import SETS_FILE, text_table

    table = {"sets": {name: result.to_json() for name, result in results.items()}, "errors": dict(errors)}
    if as_json:
        echo_json(table, indent=1)
    elif results:
        echo(*text_table({name: result.summary for name, result in results.items()}).split("\n"))
        for name, result in results.items():
            if result.corrupted:
                echo(f"{name}:")
                echo_corruptions(result.corrupted)
    if out and results:
        write_atomic(out / SETS_FILE, json.dumps(table, indent=1) + "\n")
        log.info("%s: %s, and a report of each data set in its folder, are written", out, SETS_FILE)
    if errors:
        raise typer.Exit(1)
