"""Computes the features of the images of a data set, chunk by chunk as an evaluation does, into one feature file."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tencrop.common.atomic import atomic_path
from tencrop.common.errors import BadInput
from tencrop.dataset.account import Account
from tencrop.dataset.separate_output import check_separate
from tencrop.dataset.source import Source, ignore_progress
from tencrop.evaluation.chunks import Failures, forward_chunks, run_fingerprint, write_behind
from tencrop.evaluation.feature_file import FeatureOrigin, feature_schema, write_feature_file
from tencrop.evaluation.part_file import explain_full_disk, part_path
from tencrop.evaluation.plan import CHUNK, Plan
from tencrop.evaluation.run_folder import lock_run_folder
from tencrop.model.feature_output import VIEWS, choose_views
from tencrop.runtime.classifier import Classifier

REASON = pa.field("reason", pa.string())  # a part file's last column; empty where the image has features
NOT_FINITE = "no_answer"  # the reason of an image whose features are not finite numbers


def plan_features(data: Source) -> Plan:
    """Take every image of the data set, whatever its split; labels are the data set's own."""
    entries, labels = data.entries, data.entries.labels
    return Plan(data, entries, labels.tolist(), "all", len(entries), len(np.unique(labels)), CHUNK)


def extract_features(
    plan: Plan,
    model: Classifier,
    layer: str,
    views: str,
    out: Path,
    resume: bool = False,
    progress: Callable[[int], object] = ignore_progress,
    workers: int = 0,
) -> Account:
    """Write the features of a plan's images to the feature file `out`, by one of VIEWS.

    model: opened with `layer`. Until the file is whole, the finished chunks lie in OUT.run, where `resume` goes on.
    Images that cannot be decoded have no row; the account counts them.

    Raises BadInput where `out` exists, lies in the data set, or OUT.run holds another run. Raises WorkFailed where an
    image is gone or a file cannot be written.
    """
    folder = out.with_name(out.name + ".run")
    if views not in VIEWS:
        raise BadInput(f"--views {views}: expected {', '.join(VIEWS)}")
    if out.exists():
        raise BadInput(f"{out}: exists already", "choose another name")
    check_separate(plan.data.root, out)
    origin = FeatureOrigin(model.sha256, layer, views)
    settings = run_fingerprint(plan, model) | {"layer": layer, "views": views, "list of images": plan.sha256}
    with lock_run_folder(folder, settings, resume):
        (folder / "parts").mkdir(exist_ok=True)
        todo = [chunk for chunk in range(plan.chunk_count) if not _is_complete(folder, plan, chunk)]
        done = len(plan.entries) - sum(len(plan.chunk(chunk)[0]) for chunk in todo)

        def forward(images: np.ndarray) -> tuple[np.ndarray, ...]:
            return (choose_views(model.forward_features(images, layer), views),)

        answers = forward_chunks(plan, todo, model, forward, workers)
        for images in write_behind(answers, partial(_write_chunk, plan, folder)):
            progress(done := done + images)
        with explain_full_disk(out):
            account, width = _close_account(folder, plan)
            write_feature_file(out, _iter_rows(folder, plan), width, model, origin, account)
        shutil.rmtree(folder)
    return account


def _write_chunk(plan: Plan, folder: Path, chunk: int, failures: Failures, arrays: list[np.ndarray]) -> int:
    """Write a chunk's part file, and return its number of images. Rows with a reason hold zeros."""
    entries, labels = plan.chunk(chunk)
    features = arrays[0]
    finite = np.isfinite(features).all(1)
    reasons = [failure.reason or ("" if ok else NOT_FINITE) for failure, ok in zip(failures, finite, strict=True)]
    features = np.where([[not reason] for reason in reasons], features, 0)
    schema = feature_schema(features.shape[1])
    columns = [
        [entry.id for entry in entries],
        [plan.data.labels[label].id for label in labels],
        pa.FixedSizeListArray.from_arrays(features.ravel(), features.shape[1]),
        reasons,
    ]
    table = pa.table(columns, schema=schema.append(REASON))
    with explain_full_disk(folder), atomic_path(part_path(folder, chunk)) as partial_file:
        pq.write_table(table, partial_file)
    return len(entries)


def _is_complete(folder: Path, plan: Plan, chunk: int) -> bool:
    """Return whether the chunk's part file is there, undamaged and of these images."""
    try:
        ids = pq.read_table(part_path(folder, chunk))["id"].to_pylist()
    except (OSError, KeyError, pa.ArrowException):
        return False
    return bool(ids == [entry.id for entry in plan.chunk(chunk)[0]])


def _close_account(folder: Path, plan: Plan) -> tuple[Account, int]:
    """The account of all images, and the number of features of each."""
    files = [part_path(folder, chunk) for chunk in range(plan.chunk_count)]
    reasons = [reason for file in files for reason in pq.read_table(file, columns=["reason"])["reason"].to_pylist()]
    width = pq.read_schema(files[0]).field("features").type.list_size
    return Account.close(plan.data.inventory, len(plan.entries), filter(None, reasons)), width


def _iter_rows(folder: Path, plan: Plan) -> Iterator[pa.Table]:
    """The rows of the images that have features, chunk by chunk."""
    for chunk in range(plan.chunk_count):
        table = pq.read_table(part_path(folder, chunk))
        good = np.array([not reason for reason in table["reason"].to_pylist()])
        yield table.filter(pa.array(good)).drop_columns("reason")
