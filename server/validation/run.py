"""Batch validation: data set -> decode threads -> engine -> records. The same decoder, engine and graph that answer a POST.

Work is cut into chunks of fixed size by index, the last one padded: one forward and one part file each, so that a run that
was stopped and resumed repeats no float differently.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataset.source import Entry, Source
from model.classifier import Classifier
from model.errors import BadInput, WorkFailed
from model.preprocess import ImageError, decode
from model.whole import write_whole
from server.validation.records import SCHEMA, chunk_table, counts, write_records
from server.validation.report import html_report

CHUNK = 16  # images a forward
AHEAD = 2  # chunks that are decoded while the engine works on one


@dataclass(frozen=True)
class Plan:
    """What is evaluated: some entries of a data set and, for each, the index of its class in the model's labels."""

    data: Source
    entries: Sequence[Entry]
    labels: Sequence[int]


def plan(data: Source, entries: Sequence[Entry], classifier: Classifier, limit: int | None) -> Plan:
    """Match the data set's classes with the model's by id; `limit` keeps that many images, evenly spread.

    Raises BadInput where a class of the data set is none of the model's, or where nothing is left to evaluate.
    """
    index = {label.id: i for i, label in enumerate(classifier.file.card.labels)}
    unknown = [label.id for label in data.labels if label.id not in index]
    if unknown:
        raise BadInput(f"{data.root}: class {unknown[0]!r} is none of the model's ({len(unknown)} of {len(data.labels)} classes are not)")
    if limit is not None and limit < len(entries):
        entries = [entries[i * len(entries) // limit] for i in range(limit)]
    if not entries:
        raise BadInput(f"{data.root}: no image left to evaluate")
    return Plan(data, entries, [index[data.labels[entry.label].id] for entry in entries])


def evaluate(work: Plan, classifier: Classifier, out: Path, resume: bool, progress: Callable[[int], None]) -> dict[str, Any]:
    """Run the plan and write predictions.parquet, summary.json, run.json and report.html; returns the summary.

    `resume` goes on with a run that was stopped; of a finished one it gives the summary.
    Raises BadInput where `out` holds anything else, or this run and `resume` was not asked for; WorkFailed where an image is gone.
    """
    if not _claim(out, work, classifier, resume):
        summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        return summary
    parts = [out / "parts" / f"{chunk:07d}.parquet" for chunk in range(-(-len(work.entries) // CHUNK))]
    started, fresh = time.time(), 0
    todo = [chunk for chunk, part in enumerate(parts) if not _complete(part, _slice(work.entries, chunk))]
    kept = len(work.entries) - sum(len(_slice(work.entries, chunk)) for chunk in todo)
    for chunk, images, decoded in _decoded_ahead(work, classifier, todo):
        entries = _slice(work.entries, chunk)
        mean, each = classifier.predict(images)
        table = chunk_table(entries, _slice(work.labels, chunk), decoded, mean[: len(entries)], each[: len(entries)])
        write_records(parts[chunk], table)
        fresh += len(entries)
        progress(kept + fresh)
    seconds = time.time() - started
    run = {"started": started, "seconds": seconds, "images": fresh, "images_per_s": fresh / max(seconds, 1e-9), "cores": os.cpu_count()}
    return _write_report(out, work, classifier, pa.concat_tables([pq.read_table(part) for part in parts]), run, parts)


def _write_report(
    out: Path, work: Plan, classifier: Classifier, table: pa.Table, run: dict[str, Any], parts: Sequence[Path]
) -> dict[str, Any]:
    """The four files, summary.json last: where it is, the run is finished. Then the parts go."""
    summary = _summary(work, classifier, table)
    write_records(out / "predictions.parquet", table)
    write_whole(out / "run.json", json.dumps(run, indent=1) + "\n")
    write_whole(out / "report.html", html_report(summary, run, table, classifier.file.card.labels, work.data, work.entries))
    write_whole(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    for part in parts:
        part.unlink()
    (out / "parts").rmdir()
    return summary


def _complete(part: Path, entries: Sequence[Entry]) -> bool:
    """Whether a part is there, whole, and of these entries."""
    try:
        table = pq.read_table(part)
    except (OSError, pa.ArrowException):
        return False
    return bool(table.schema == SCHEMA and table["id"].to_pylist() == [entry.id for entry in entries])


def _decoded_ahead(work: Plan, classifier: Classifier, chunks: Sequence[int]) -> Iterator[tuple[int, np.ndarray, list[bool]]]:
    """(chunk, uint8 [CHUNK,R,R,3] with zeros for what is missing, which were decoded), decoding AHEAD chunks in advance."""
    contract = classifier.file.card.contract

    def pixels(entry: Entry) -> np.ndarray | None:
        try:
            return decode(work.data.read(entry), contract)[0]
        except ImageError:
            return None
        except OSError as error:
            raise WorkFailed(f"{work.data.root}: {entry.id} is listed but {error.strerror}; what is done is kept for --resume") from None

    with ThreadPoolExecutor(os.cpu_count(), "decode") as pool:
        waiting: dict[int, list[Future[np.ndarray | None]]] = {}
        for position, chunk in enumerate(chunks):
            for later in chunks[position : position + 1 + AHEAD]:
                if later not in waiting:
                    waiting[later] = [pool.submit(pixels, entry) for entry in _slice(work.entries, later)]
            squares = [future.result() for future in waiting.pop(chunk)]
            images = np.zeros((CHUNK, contract.resize, contract.resize, 3), np.uint8)
            for image, square in zip(images, squares, strict=False):
                image[...] = 0 if square is None else square
            yield chunk, images, [square is not None for square in squares]


def _claim(out: Path, work: Plan, classifier: Classifier, resume: bool) -> bool:
    """Remember in `out` what is run there, with everything that could change a float or a count; False: it is finished.

    Raises BadInput where the folder cannot be used for it.
    """
    engine = classifier.engine
    images = json.dumps([[entry.id, label] for entry, label in zip(work.entries, work.labels, strict=True)])
    claim = {
        "model": classifier.file.sha256,
        "engine": [engine.name, engine.device, engine.precision],
        "cores": os.cpu_count(),
        "chunk": CHUNK,
        "images": hashlib.sha256(images.encode()).hexdigest(),
    }
    file = out / "claim.json"
    try:
        if file.exists():
            if not resume:
                raise BadInput(f"{out}: holds a run already; add --resume to go on with it, or choose another --out")
            if json.loads(file.read_text(encoding="utf-8")) != claim:
                raise BadInput(f"{out}: --resume: the run there is of another model, engine, machine size or list of images")
            return not (out / "summary.json").exists()
        if out.is_dir() and any(out.iterdir()):
            raise BadInput(f"{out}: not empty and no run of ours; choose another --out")
        (out / "parts").mkdir(parents=True)
        write_whole(file, json.dumps(claim, indent=1) + "\n")
    except ValueError:
        raise BadInput(f"{file}: damaged; remove {out} or choose another --out") from None
    except OSError as error:
        raise BadInput(f"--out {out}: cannot be used ({error.strerror}); choose another folder") from None
    return True


def _summary(work: Plan, classifier: Classifier, table: pa.Table) -> dict[str, Any]:
    engine = classifier.engine
    return {
        "n": table.num_rows,
        "undecodable": int(table["undecodable"].to_numpy().sum()),
        "center": counts(table, "center").to_dict(),
        "ten_crop": counts(table, "ten_crop").to_dict(),
        "engine": engine.name,
        "device": engine.device,
        "precision": engine.precision,
        "model": {"name": classifier.name, "sha256": classifier.file.sha256},
        "contract_sha256": classifier.file.card.contract.sha256,
        "dataset": work.data.root.resolve().name,
        "expect": list(classifier.file.card.recipe.get("expect", ())),  # what the recipe's net reached in 2012, in percent
    }


def _slice(items: Sequence[Any], chunk: int) -> Sequence[Any]:
    return items[chunk * CHUNK : (chunk + 1) * CHUNK]
