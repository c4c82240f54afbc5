"""Records of corrupted images: a row for each image under each condition.

A part file holds a chunk: all its images under the first condition, then all under the second, and so on.
predictions.parquet holds the chunks, each as a row group.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tencrop.common.atomic import atomic_path
from tencrop.dataset.source import Entry
from tencrop.evaluation.corruption.conditions import Condition
from tencrop.evaluation.part_file import part_path
from tencrop.evaluation.prediction_records import TOP_INDICES, find_hits
from tencrop.images.errors import Failure
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.measured_errors import VIEWS
from tencrop.model.metrics import ErrorCounts, top_k

SCHEMA = pa.schema(
    {
        "corruption": pa.string(),  # as in images/corruptions/table.py
        "severity": pa.int8(),
        "id": pa.string(),  # path within the data set
        "label": pa.int32(),  # index of the true class in the model's labels
        "also_right": pa.list_(pa.int32()),  # other classes that are right
        "center_indices": TOP_INDICES,  # both are empty where the image has no answer
        "ten_crop_indices": TOP_INDICES,
    }
)


def condition_table(
    condition: Condition,
    entries: Sequence[Entry],
    labels: Sequence[int],
    also_right: Sequence[Sequence[int]],
    failures: Sequence[Failure],
    mean: np.ndarray,
    views: np.ndarray,
) -> pa.Table:
    """The rows of n images under a condition, from probabilities `mean` [n,C] and `views` [n,10,C].

    `also_right` is as in `chunk_table`. Probabilities of an image that could not be decoded are ignored.
    """
    columns: dict[str, list[object]] = {
        "corruption": [condition.corruption] * len(entries),
        "severity": [condition.severity] * len(entries),
        "id": [entry.id for entry in entries],
        "label": list(labels),
        "also_right": list(also_right) or [()] * len(entries),
    }
    for kind, probabilities in (("center", views[:, CENTER_VIEW]), ("ten_crop", mean)):
        rows = zip(top_k(probabilities), failures, strict=True)
        columns[f"{kind}_indices"] = [[] if failure.reason or row[0] < 0 else row.tolist() for row, failure in rows]
    return pa.table(columns, schema=SCHEMA)


def is_complete(out: Path, chunk: int, entries: Sequence[Entry], conditions: Sequence[Condition]) -> bool:
    """Return whether the chunk's part file is there, undamaged, and of these images and conditions."""
    try:
        table = pq.read_table(part_path(out, chunk))
    except (OSError, pa.ArrowException):
        return False
    return bool(table.schema == SCHEMA and table["id"].to_pylist() == [entry.id for entry in entries] * len(conditions))


def write_part(out: Path, chunk: int, tables: Sequence[pa.Table]) -> None:
    """Write the part file of a chunk, all of it or nothing. Raises OSError."""
    with atomic_path(part_path(out, chunk)) as partial:
        pq.write_table(pa.concat_tables(tables), partial)


def merge_parts(out: Path, chunks: int, file: Path) -> None:
    """Copy the part files of so many chunks into one file. One chunk at a time is in the memory. Raises OSError."""
    with atomic_path(file) as partial, pq.ParquetWriter(partial, SCHEMA) as writer:
        for chunk in range(chunks):
            writer.write_table(pq.read_table(part_path(out, chunk)))


def count_errors(file: Path, conditions: Sequence[Condition]) -> dict[str, list[ErrorCounts]]:
    """Count the errors in a predictions.parquet by each kind of VIEWS, for each condition."""
    counts = {kind: [ErrorCounts()] * len(conditions) for kind in VIEWS}
    for table in _read_row_groups(file):
        images = table.num_rows // len(conditions)
        for place in range(len(conditions)):
            rows = table.slice(place * images, images)
            for kind in VIEWS:
                counts[kind][place] += ErrorCounts.from_hits(find_hits(rows, kind))
    return counts


def _read_row_groups(file: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(file) as records:
        for group in range(records.num_row_groups):
            yield records.read_row_group(group)
