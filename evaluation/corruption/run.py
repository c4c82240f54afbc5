"""Evaluates a model on corrupted images: every image of a plan under every condition, beside the errors on clean ones.

The run lies in the folder `corruptions` of an ordinary run. It can be stopped and resumed as that one can.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from tencrop.common.atomic import write_atomic
from tencrop.common.errors import BadInput
from tencrop.evaluation.corruption.chunks import evaluate_corrupted_chunks
from tencrop.evaluation.corruption.conditions import Condition
from tencrop.evaluation.corruption.records import count_errors, is_complete, merge_parts
from tencrop.evaluation.corruption.report import corruption_report
from tencrop.evaluation.corruption.summary import ConditionErrors, CorruptionSummary, has_imagenet_classes
from tencrop.evaluation.evaluate import open_folder, result_settings
from tencrop.evaluation.part_file import remove_parts
from tencrop.evaluation.plan import Plan
from tencrop.evaluation.run_folder import lock_run_folder
from tencrop.evaluation.summary import Summary
from tencrop.images.corruptions.frost_photographs import check_photographs
from tencrop.model.measured_errors import ErrorRates
from tencrop.runtime.ensemble import Predictor

FOLDER = "corruptions"  # within the folder of the run on clean images
RESULT_FILE = "corruptions.json"
RECORDS_FILE = "predictions.parquet"


def evaluate_corruptions(
    plan: Plan,
    model: Predictor,
    clean: Summary,
    conditions: Sequence[Condition],
    frost: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    workers: int = 0,
) -> CorruptionSummary:
    """Run the plan under the conditions, and write predictions.parquet, report.html and corruptions.json.

    clean: the result of the same plan without corruptions. out: the folder of that run, or None to keep nothing.
    frost: folder of the authors' photographs, which the condition "frost" takes. `progress` is called with the number
    of images that are finished, where an image counts once for each condition.

    Raises BadInput where a photograph is missing, damaged or too small, or the records of a finished run are damaged,
    and else as `evaluate` does.
    """
    photographs = check_photographs(frost, model.contract.resize) if frost else None
    settings = result_settings(plan, model) | {
        "list of corruptions": [list(each) for each in conditions],
        "hash of --frost": photographs,
    }
    with open_folder(out / FOLDER if out else None) as folder, lock_run_folder(folder, settings, resume):
        if not (folder / RESULT_FILE).exists():
            (folder / "parts").mkdir(exist_ok=True)
            chunks = range(plan.chunk_count)
            todo = [chunk for chunk in chunks if not is_complete(folder, chunk, plan.chunk(chunk)[0], conditions)]
            done = (len(plan.entries) - sum(len(plan.chunk(chunk)[0]) for chunk in todo)) * len(conditions)
            for images in evaluate_corrupted_chunks(plan, conditions, frost, todo, folder, model, workers):
                done += images
                progress(done)
            merge_parts(folder, plan.chunk_count, folder / RECORDS_FILE)
        result = _summarize(plan, model, clean, conditions, folder)
        if not (folder / RESULT_FILE).exists():
            _finish(plan, folder, result)
        return result


def _summarize(
    plan: Plan, model: Predictor, clean: Summary, conditions: Sequence[Condition], folder: Path
) -> CorruptionSummary:
    try:
        counts = count_errors(folder / RECORDS_FILE, conditions)
    except (OSError, KeyError, ValueError, pa.ArrowException):
        advice = f"remove {folder} and evaluate again"
        raise BadInput(f"{folder / RECORDS_FILE}: missing or damaged", advice) from None
    errors = [
        ConditionErrors(condition, *(ErrorRates(each.top1_error, each.top5_error) for each in pair))
        for condition, *pair in zip(conditions, counts["center"], counts["ten_crop"], strict=True)
    ]
    is_imagenet = has_imagenet_classes(model.contract, plan.labels)
    return CorruptionSummary(clean, tuple(errors), model.contract.resize, is_imagenet)


def _finish(plan: Plan, folder: Path, result: CorruptionSummary) -> None:
    """Write the report, then corruptions.json: a folder that holds one holds a finished run. Remove the part files."""
    write_atomic(folder / "report.html", corruption_report(result))
    write_atomic(folder / RESULT_FILE, json.dumps(result.to_json(), indent=1) + "\n")
    remove_parts(folder, plan.chunk_count)
