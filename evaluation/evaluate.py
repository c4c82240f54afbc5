"""Evaluates a model on a labelled data set: decodes images, predicts, writes records, summary and report.

Decoder, engine and graph are those that answer a POST. A run that was stopped can be resumed.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from tencrop.common.atomic import write_atomic
from tencrop.dataset.account import Account
from tencrop.dataset.separate_output import check_separate
from tencrop.dataset.source import Source
from tencrop.evaluation.agreement import count_by_agreement
from tencrop.evaluation.chunks import evaluate_chunks, run_fingerprint
from tencrop.evaluation.class_sums import ClassSums
from tencrop.evaluation.evaluated_set import EvaluatedSet
from tencrop.evaluation.intervals import ErrorIntervals, IntervalsByViews, bootstrap_intervals, wilson_intervals
from tencrop.evaluation.part_file import is_complete, read_part, remove_parts
from tencrop.evaluation.plan import Plan, plan_evaluation
from tencrop.evaluation.prediction_records import count_errors, write_records
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.report import html_report
from tencrop.evaluation.run_folder import lock_run_folder
from tencrop.evaluation.run_timing import TIMING_FILE, RunTiming
from tencrop.evaluation.scores import ScoresByViews, measure_scores
from tencrop.evaluation.set_coverage import measure_sets
from tencrop.evaluation.summary import EvaluatedModel, Summary, read_summary
from tencrop.images.decoder_version import decoder_version
from tencrop.model.measured_errors import SUMMARY_FILE, VIEWS, ErrorRates, ErrorsByViews
from tencrop.model.published_errors import PublishedError
from tencrop.runtime.cores import cores
from tencrop.runtime.ensemble import Predictor
from tencrop.runtime.provenance import Provenance

FIVE_NETS = PublishedError("ILSVRC-2012 validation, 5 nets", "ten_crop", 38.1, 16.4)  # table 2 of the paper
SEVEN_NETS = PublishedError("ILSVRC-2012 validation, 7 nets", "ten_crop", 36.7, 15.4)  # with the two of 6 convolutions

ChunkRunner = Callable[[Sequence[int]], Iterable[int]]  # evaluates these chunks; yields each one's number of images


def evaluate_source(
    data: Source,
    model: Predictor,
    *,
    holdout: float = 1,
    limit: int | None = None,
    out: Path | None = None,
    resume: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Summary:
    """Plan and evaluate in one call; `progress` is called with the numbers of finished and of planned images.

    Raises as `plan_evaluation` and `evaluate` do.
    """
    plan = plan_evaluation(data, model, holdout, limit)

    def report_progress(done: int) -> None:
        if progress:
            progress(done, len(plan.entries))

    return evaluate(plan, model, out, resume, report_progress)


def evaluate(
    plan: Plan,
    model: Predictor,
    out: Path | None = None,
    resume: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    runner: ChunkRunner | None = None,
    workers: int = 0,
) -> Summary:
    """Run the plan and write predictions.parquet, run.json, report.html and summary.json to `out`.

    Without `out` no file is kept. `resume` continues a run that was stopped, and reads the summary of a finished one.
    `progress` is called with the number of finished images. `runner` evaluates the chunks outside this process; without
    it `workers` processes decode, or threads where it is 0.

    Raises BadInput where `out` lies in the data set, holds anything else, or holds this run and `resume` is false.
    Raises WorkFailed where an image is gone or `out` cannot be written.
    """
    if out:
        check_separate(plan.data.root, out)
    with open_folder(out) as folder, lock_run_folder(folder, result_settings(plan, model), resume):
        if (folder / SUMMARY_FILE).exists():
            return read_summary(folder / SUMMARY_FILE)
        (folder / "parts").mkdir(exist_ok=True)
        started, fresh = time.time(), 0
        todo = [chunk for chunk in range(plan.chunk_count) if not is_complete(folder, plan, chunk)]
        kept = len(plan.entries) - sum(len(plan.chunk(chunk)[0]) for chunk in todo)
        for images in runner(todo) if runner else evaluate_chunks(plan, todo, folder, model, workers):
            fresh += images
            progress(kept + fresh)
        seconds = time.time() - started
        return _finish(folder, plan, model, RunTiming(started, seconds, fresh, fresh / max(seconds, 1e-9), cores()))


@contextmanager
def open_folder(out: Path | None) -> Iterator[Path]:
    """Yield `out`, or a folder that is removed afterwards."""
    if out:
        yield out
    else:
        with TemporaryDirectory() as scratch:
            yield Path(scratch) / "run"


def result_settings(plan: Plan, model: Predictor) -> dict[str, Any]:
    """Everything that could change a float or a count."""
    return run_fingerprint(plan, model) | {"list of images": plan.sha256}


def _finish(out: Path, plan: Plan, model: Predictor, timing: RunTiming) -> Summary:
    """Merge the part files into the four files of a finished run, then remove them.

    summary.json is written last: a folder that holds one holds a finished run.
    """
    table, sums = _merge_parts(out, plan)
    summary = _summarize(plan, model, table, sums)
    write_records(out / "predictions.parquet", table.replace_schema_metadata(Provenance.of(model)._asdict()))
    write_atomic(out / TIMING_FILE, json.dumps(timing.to_json(), indent=1) + "\n")
    page = html_report(summary, timing, table, model.contract.labels, plan.data, plan.entries)
    write_atomic(out / "report.html", page)
    write_atomic(out / SUMMARY_FILE, json.dumps(summary.to_json(), indent=1) + "\n")
    remove_parts(out, plan.chunk_count)
    return summary


def _merge_parts(out: Path, plan: Plan) -> tuple[pa.Table, dict[str, ClassSums]]:
    """Read all part files: the records in the order of the plan, and the sums over the classes by kind of VIEWS."""
    tables, sums = [], dict[str, ClassSums]()
    for chunk in range(plan.chunk_count):
        table, more = read_part(out, chunk)
        tables.append(table)
        sums = {kind: sums[kind] + more[kind] if sums else more[kind] for kind in VIEWS}
    return pa.concat_tables(tables).unify_dictionaries(), sums


def _summarize(plan: Plan, model: Predictor, table: pa.Table, sums: Mapping[str, ClassSums]) -> Summary:
    nets = tuple(EvaluatedModel(net.name, net.sha256) for net in model.members)
    can_judge_sets = len(nets) == 1 and not plan.also_right and not plan.among  # no ensemble is calibrated
    calibration = model.members[0].calibration if can_judge_sets else None
    center, ten_crop = (count_errors(table, kind) for kind in VIEWS)
    predictions = {kind: Predictions.from_table(table, kind) for kind in VIEWS}
    by_class = [of.count_by_class() for of in predictions.values()]
    has_answers = bool(predictions["ten_crop"].answered.any())
    return Summary(
        n=table.num_rows,
        undecodable=int(table["undecodable"].to_numpy().sum()),
        no_answer=int(table["no_answer"].to_numpy().sum()),
        center=ErrorRates(center.top1_error, center.top5_error),
        ten_crop=ErrorRates(ten_crop.top1_error, ten_crop.top5_error),
        engine=model.engine.name,
        device=model.engine.device,
        precision=model.engine.precision,
        model=EvaluatedModel(model.name, model.sha256, nets if len(nets) > 1 else ()),
        contract_sha256=model.contract.sha256,
        decoder=decoder_version(),
        dataset=plan.data.root.resolve().name,
        subset=plan.subset,
        available=plan.available,
        classes=plan.classes,
        model_classes=len(model.contract.labels),
        mean_over_classes=ErrorsByViews(*(counts.mean_error() for counts in by_class)),
        intervals=ErrorIntervals(
            IntervalsByViews(*map(wilson_intervals, (center, ten_crop))),
            IntervalsByViews(*map(bootstrap_intervals, by_class)),
        ),
        scores=ScoresByViews(*(measure_scores(of, sums[kind]) for kind, of in predictions.items()))
        if has_answers
        else None,
        agreement=count_by_agreement(predictions["ten_crop"]),
        sets=measure_sets(calibration, plan.sha256, predictions["ten_crop"]) if calibration and has_answers else None,
        published=_published_errors(model),
        test_set=_describe_set(plan),
        without_label=plan.without_label,
        account=Account.close(
            plan.data.inventory, len(plan.data.entries), table["reason"].filter(table["undecodable"]).to_pylist()
        ),
    )


def _describe_set(plan: Plan) -> EvaluatedSet | None:
    known = plan.known_set
    return EvaluatedSet(known.name, len(plan.among) or None, known.expect) if known else None


def _published_errors(model: Predictor) -> tuple[PublishedError, ...]:
    """The errors that 2012 reached with the first net's recipe and, beside an ensemble, with the paper's ensembles."""
    recipes = [net.file.metadata.recipe for net in model.members]
    first, *others = [tuple(PublishedError(**error) for error in recipe.get("expect", ())) for recipe in recipes]
    if not (others and first and all(others)):
        return first
    has_sixth = any("conv6" in recipe.get("net", ()) for recipe in recipes)
    return (*first, SEVEN_NETS if has_sixth else FIVE_NETS)
