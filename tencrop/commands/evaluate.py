"""`tencrop evaluate`: the errors of a model over labelled images."""

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
    engine_options,
)
from tencrop.commands.output import echo, echo_json
from tencrop.common.errors import BadInput
from tencrop.common.extras import require
from tencrop.model.embedded import EMBEDDED
from tencrop.progress_bar import progress_bar


def evaluate(
    data: Data,
    model: Annotated[
        list[Path] | None, typer.Option(help="a tencrop.onnx; several make an ensemble; by default the embedded model")
    ] = None,
    labels: Words = None,
    list_: ListFile = None,
    config: Config = None,
    image_root: ImageRoot = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    out: Annotated[Path | None, typer.Option(help="folder for the report; without it nothing is kept")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="evaluate this many images, evenly spread")] = None,
    holdout: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="share of each class to evaluate if DATA has no split; give the value that `prepare` had",
        ),
    ] = 1,
    resume: Annotated[bool, typer.Option(help="continue a stopped run")] = False,
    ray: Annotated[
        bool, typer.Option("--ray", help="use all machines of RAY_ADDRESS's cluster; each must see DATA and --out")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print summary.json")] = False,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """Measure center-crop and ten-crop errors over labelled images: the data set's validation images, if it has any."""
    require("ray" if ray else "evaluate")
    from tencrop.dataset.source_options import SourceOptions
    from tencrop.evaluation.evaluate import evaluate as run
    from tencrop.evaluation.plan import plan_evaluation
    from tencrop.evaluation.text_report import text_report
    from tencrop.runtime.ensemble import open_predictor

    models = model or [EMBEDDED]
    if ray and not out:
        raise BadInput("--ray: needs --out DIR, a folder that every machine of the cluster sees")
    if resume and not out:
        raise BadInput("--resume: needs --out DIR, the folder of the run to continue")
    options = SourceOptions(labels, list_, config, image_root, image_column, label_column)
    source = open_source(data, options, training=False)
    predictor = open_predictor(models, engine_options(device, engine, precision))
    plan = plan_evaluation(source, predictor, holdout, limit)
    runner = None
    if ray and out:
        from tencrop.evaluation.ray import make_ray_runner

        runner = make_ray_runner(plan, predictor, models, out)
    with progress_bar("evaluating", len(plan.entries)) as progress:
        summary = run(plan, predictor, out, resume, progress, runner)
    if as_json:
        echo_json(summary.to_json(), indent=1)
        return
    echo(*text_report(summary).split("\n"))
