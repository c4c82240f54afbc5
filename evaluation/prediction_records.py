"""Records of a validation: one row per image, written in part files chunk by chunk, merged into predictions.parquet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tencrop.common.atomic import atomic_path
from tencrop.common.errors import BadInput
from tencrop.dataset.source import Entry
from tencrop.images.errors import Failure
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.measured_errors import ErrorRates
from tencrop.model.metrics import TOP, ClassCounts, ErrorCounts, top_k

TOP_INDICES, TOP_PROBABILITIES = pa.list_(pa.int32()), pa.list_(pa.float32())  # up to five, best first
SCHEMA = pa.schema(
    {
        "id": pa.string(),  # path within the data set
        "label": pa.int32(),  # index of the true class in the model's labels
        "undecodable": pa.bool_(),  # the file is no image
        "no_answer": pa.bool_(),  # the image is sound, but its probabilities are not finite
        "center_indices": TOP_INDICES,  # this list and the next three are empty where undecodable or no_answer
        "center_probabilities": TOP_PROBABILITIES,
        "ten_crop_indices": TOP_INDICES,
        "ten_crop_probabilities": TOP_PROBABILITIES,
        "reason": pa.string(),  # code of the image's error, as in HTTP answers; empty where it could be decoded
        "message": pa.string(),  # the error in words
    }
)
ADDED = {"no_answer": False, "reason": "", "message": ""}  # columns that version 0.1 did not write, and their values


def chunk_table(
    entries: Sequence[Entry],
    labels: Sequence[int],
    failures: Sequence[Failure],
    mean: np.ndarray,
    views: np.ndarray,
) -> pa.Table:
    """The rows of one chunk of n images, from probabilities `mean` [n,C] and `views` [n,10,C].

    Probabilities of an image that could not be decoded are ignored.
    """
    finite = [bool(np.isfinite(row).all()) for row in mean]
    undecodable = [bool(failure.reason) for failure in failures]
    answered = [not lost and is_finite for lost, is_finite in zip(undecodable, finite, strict=True)]
    columns: dict[str, list[object]] = {
        "id": [entry.id for entry in entries],
        "label": list(labels),
        "undecodable": list(undecodable),
        "no_answer": [not lost and not is_finite for lost, is_finite in zip(undecodable, finite, strict=True)],
        "reason": [failure.reason for failure in failures],
        "message": [failure.message for failure in failures],
    }
    for kind, probabilities in (("center", views[:, CENTER_VIEW]), ("ten_crop", mean)):
        top = top_k(probabilities)
        best = np.take_along_axis(probabilities, top, axis=1)
        columns[f"{kind}_indices"] = [row.tolist() if ok else [] for row, ok in zip(top, answered, strict=True)]
        columns[f"{kind}_probabilities"] = [row.tolist() if ok else [] for row, ok in zip(best, answered, strict=True)]
    return pa.table(columns, schema=SCHEMA)


def read_records(path: Path) -> pa.Table:
    """Read a table with the columns of SCHEMA; columns of ADDED that the file lacks have the values there.

    Raises BadInput where the file has other columns, OSError or ArrowException where it is missing or damaged.
    """
    table = pq.read_table(path)
    table.validate(full=True)
    for column, value in ADDED.items():
        if column not in table.column_names:
            kind = SCHEMA.field(column)
            table = table.append_column(kind, pa.array([value] * table.num_rows, kind.type))
    if set(table.column_names) == set(SCHEMA.names):
        table = table.select(SCHEMA.names)
    if table.schema != SCHEMA:
        raise BadInput(f"{path}: has other columns than {', '.join(SCHEMA.names)}", "evaluate again with this version")
    return table


def write_records(path: Path, table: pa.Table) -> None:
    """Write a table of SCHEMA as parquet, all of it or nothing. Raises OSError."""
    with atomic_path(path) as partial:
        pq.write_table(table, partial)


def pad_top5(column: pa.ChunkedArray) -> np.ndarray:
    """Pad lists of up to TOP indices or probabilities with -1 to an array [n,TOP].

    Raises ValueError (pyarrow's is one) where a list is longer, or null.
    """
    lists = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    values = lists.flatten().to_numpy()
    padded = np.full((len(lists), TOP), -1, values.dtype)
    padded[np.arange(TOP) < pc.list_value_length(lists).to_numpy()[:, None]] = values
    return padded


def count_errors(table: pa.Table, kind: str) -> ErrorCounts:
    """Count the errors over all rows by the center crop ("center") or by the ten views ("ten_crop")."""
    return ErrorCounts.from_top_k(pad_top5(table[f"{kind}_indices"]), table["label"].to_numpy())


def mean_over_classes(table: pa.Table, kind: str) -> ErrorRates:
    """The mean over the classes of the error within each class, by one kind of prediction as in `count_errors`."""
    return ClassCounts.from_top_k(pad_top5(table[f"{kind}_indices"]), table["label"].to_numpy()).mean_error()
