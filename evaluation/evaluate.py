"""Batch validation: data set -> decode threads -> engine -> records. The same decoder, engine and graph that answer a POST."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tencrop.common.atomic import write_atomic
from tencrop.common.errors import BadInput
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.source import Entry, Source
from tencrop.evaluation.chunks import Plan, evaluate_chunks, is_complete, part_path, run_fingerprint
from tencrop.evaluation.prediction_records import counts, write_records
from tencrop.evaluation.report import html_report
from tencrop.evaluation.run_folder import lock_run_folder
from tencrop.runtime.cores import cores
from tencrop.runtime.ensemble import Predictor

FIVE_NETS = {
    "data": "ILSVRC-2012 validation, 5 nets",
    "views": "ten_crop",
    "top1": 38.1,
    "top5": 16.4,
}  # the paper's table 2

ChunkRunner = Callable[[Sequence[int]], Iterable[int]]  # does these chunks; after each, how many images it was


def plan(data: Source, model: Predictor, holdout: float, limit: int | None) -> Plan:
    """The data set's own validation images, else the share `holdout` of each class; `limit` keeps that many, evenly spread.

    Its classes are matched with the model's by id.

    Raises BadInput where a class of the data set is none of the model's, or where nothing is left to evaluate.
    """
    index = {label.id: i for i, label in enumerate(model.contract.labels)}
    unknown = [label.id for label in data.labels if label.id not in index]
    if unknown:
        raise BadInput(
            f"{data.root}: class {unknown[0]!r} is none of the model's ({len(unknown)} of {len(data.labels)} classes are not)"
        )
    subset: Literal["own", "all"] | float = (
        "own" if data.entries.validation is not None else "all" if holdout == 1 else holdout
    )
    entries: Sequence[Entry] = data.entries.select(choose_holdout(data.entries, holdout))
    available = len(entries)
    if limit is not None and limit < available:
        entries = [entries[i * available // limit] for i in range(limit)]
    if not entries:
        raise BadInput(f"{data.root}: no image left to evaluate")
    return Plan(data, entries, [index[data.labels[entry.label].id] for entry in entries], subset, available)


def evaluate(
    work: Plan,
    model: Predictor,
    out: Path,
    resume: bool,
    progress: Callable[[int], None],
    runner: ChunkRunner | None = None,
) -> dict[str, Any]:
    """Run the plan and write predictions.parquet, summary.json, run.json and report.html; returns the summary.

    `resume` goes on with a run that was stopped; of a finished one it gives the summary. `runner`: does chunks elsewhere than here.
    Raises BadInput where `out` holds anything else, or this run and `resume` was not asked for; WorkFailed where an image is gone.
    """
    with lock_run_folder(out, _result_settings(work, model), resume):
        if (out / "summary.json").exists():
            summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
            return summary
        (out / "parts").mkdir(exist_ok=True)
        started, fresh = time.time(), 0
        todo = [chunk for chunk in range(work.chunk_count) if not is_complete(out, work, chunk)]
        kept = len(work.entries) - sum(len(work.chunk(chunk)[0]) for chunk in todo)
        for images in runner(todo) if runner else evaluate_chunks(work, todo, out, model):
            fresh += images
            progress(kept + fresh)
        seconds = time.time() - started
        run = {
            "started": started,
            "seconds": seconds,
            "images": fresh,
            "images_per_s": fresh / max(seconds, 1e-9),
            "cores": cores(),
        }
        return _write_report(out, work, model, run)


def _write_report(out: Path, work: Plan, model: Predictor, run: dict[str, Any]) -> dict[str, Any]:
    """The four files, summary.json last: where it is, the run is finished. Then the parts go."""
    parts = [part_path(out, chunk) for chunk in range(work.chunk_count)]
    table = pa.concat_tables([pq.read_table(file) for file in parts])
    summary = _summary(work, model, table)
    write_records(out / "predictions.parquet", table)
    write_atomic(out / "run.json", json.dumps(run, indent=1) + "\n")
    write_atomic(out / "report.html", html_report(summary, run, table, model.contract.labels, work.data, work.entries))
    write_atomic(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    for file in parts:
        file.unlink()
    (out / "parts").rmdir()
    return summary


def _result_settings(work: Plan, model: Predictor) -> dict[str, Any]:
    """Everything that could change a float or a count."""
    images = json.dumps([[entry.id, label] for entry, label in zip(work.entries, work.labels, strict=True)])
    return run_fingerprint(model) | {"list of images": hashlib.sha256(images.encode()).hexdigest()}


def _summary(work: Plan, model: Predictor, table: pa.Table) -> dict[str, Any]:
    engine = model.engine
    several = [{"name": member.name, "sha256": member.sha256} for member in model.members]
    return {
        "n": table.num_rows,
        "undecodable": int(table["undecodable"].to_numpy().sum()),
        "center": counts(table, "center").to_dict(),
        "ten_crop": counts(table, "ten_crop").to_dict(),
        "engine": engine.name,
        "device": engine.device,
        "precision": engine.precision,
        "model": {"name": model.name, "sha256": model.sha256} | ({"members": several} if len(several) > 1 else {}),
        "contract_sha256": model.contract.sha256,
        "dataset": work.data.root.resolve().name,
        "images": work.subset,
        "among": work.available,
        "expect": _expected(model),
    }


def _expected(model: Predictor) -> list[dict[str, Any]]:
    """What 2012 reached, in percent: the recipe's net, and beside several of them the paper's five."""
    each = [list(member.file.metadata.recipe.get("expect", ())) for member in model.members]
    return each[0] + ([FIVE_NETS] if len(each) > 1 and all(each) else [])
