"""Records of a validation: one row an image, written in parts as chunks complete, merged into predictions.parquet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tencrop.common.atomic import atomic_path
from tencrop.dataset.source import Entry
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.metrics import TOP, ErrorCounts, top_k

FIVE_INDICES, FIVE_PROBABILITIES = pa.list_(pa.int32()), pa.list_(pa.float32())
SCHEMA = pa.schema(
    {
        "id": pa.string(),  # path within the data set
        "label": pa.int32(),  # index of the true class in the model's labels
        "undecodable": pa.bool_(),  # or the net's answer is no number
        "center_indices": FIVE_INDICES,  # empty where undecodable
        "center_probabilities": FIVE_PROBABILITIES,
        "ten_crop_indices": FIVE_INDICES,
        "ten_crop_probabilities": FIVE_PROBABILITIES,
    }
)


def chunk_table(
    entries: Sequence[Entry], labels: Sequence[int], decoded: Sequence[bool], mean: np.ndarray, each: np.ndarray
) -> pa.Table:
    """The rows of one chunk: mean [n,C] and each [n,10,C] for its n entries; rows of undecodable images are ignored."""
    answered = [ok and bool(np.isfinite(row).all()) for ok, row in zip(decoded, mean, strict=True)]
    columns: dict[str, list[object]] = {
        "id": [entry.id for entry in entries],
        "label": list(labels),
        "undecodable": [not ok for ok in answered],
    }
    for kind, probabilities in (("center", each[:, CENTER_VIEW]), ("ten_crop", mean)):
        top = top_k(probabilities)
        best = np.take_along_axis(probabilities, top, axis=1)
        columns[f"{kind}_indices"] = [row.tolist() if ok else [] for row, ok in zip(top, answered, strict=True)]
        columns[f"{kind}_probabilities"] = [row.tolist() if ok else [] for row, ok in zip(best, answered, strict=True)]
    return pa.table(columns, schema=SCHEMA)


def write_records(path: Path, table: pa.Table) -> None:
    """As parquet, whole or not at all."""
    with atomic_path(path) as partial:
        pq.write_table(table, partial)


def pad_top5(column: pa.ChunkedArray) -> np.ndarray:
    """Lists of TOP at most, of indices or probabilities -> [n,TOP], -1 where a list is shorter.

    Raises ValueError (pyarrow's is one) where a list is longer, or a null.
    """
    lists = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    values = lists.flatten().to_numpy()
    padded = np.full((len(lists), TOP), -1, values.dtype)
    padded[np.arange(TOP) < pc.list_value_length(lists).to_numpy()[:, None]] = values
    return padded


def counts(table: pa.Table, kind: str) -> ErrorCounts:
    """Errors by "center" or "ten_crop" over all rows."""
    return ErrorCounts.from_top_k(pad_top5(table[f"{kind}_indices"]), table["label"].to_numpy())
