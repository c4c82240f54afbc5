"""Records of a validation: one row per image, written in part files chunk by chunk, merged into predictions.parquet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tencrop.common.atomic import atomic_path
from tencrop.common.errors import BadInput
from tencrop.dataset.source import Entry
from tencrop.images.errors import Failure
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.metrics import TOP, ErrorCounts, count_agreement, top_k

TOP_INDICES, TOP_PROBABILITIES = pa.list_(pa.int32()), pa.list_(pa.float32())  # up to five, best first
SCHEMA = pa.schema(
    {
        "id": pa.string(),  # path within the data set
        "label": pa.int32(),  # index of the true class in the model's labels
        "class_name": pa.dictionary(pa.int32(), pa.string()),  # the words of the true class
        "also_right": pa.list_(pa.int32()),  # other classes that are right, of an image with several right labels
        "undecodable": pa.bool_(),  # the file is no image
        "no_answer": pa.bool_(),  # the image is sound, but its probabilities are not finite
        "center_indices": TOP_INDICES,  # this list and the next three are empty where undecodable or no_answer
        "center_probabilities": TOP_PROBABILITIES,
        "ten_crop_indices": TOP_INDICES,
        "ten_crop_probabilities": TOP_PROBABILITIES,
        "center_true_probability": pa.float32(),  # of what is right; this and the next five are null without an answer
        "ten_crop_true_probability": pa.float32(),
        "center_brier": pa.float32(),  # sum over the classes of (probability - truth)^2, from 0 to 2
        "ten_crop_brier": pa.float32(),
        "view_agreement": pa.int8(),  # how many of the ten views have the first label of the ten views as their own
        "entropy": pa.float32(),  # of the ten views' probabilities, in nats
        "reason": pa.string(),  # code of the image's error, as in HTTP answers; empty where it could be decoded
        "message": pa.string(),  # the error in words
    }
)
SCORES = tuple(field.name for field in SCHEMA if field.type in (pa.float32(), pa.int8()))  # null without an answer
ADDED: dict[str, Any] = {  # columns that older versions did not write, and their values
    "no_answer": False,
    "reason": "",
    "message": "",
    "class_name": None,
    "also_right": (),
    **dict.fromkeys(SCORES),
}


def chunk_table(
    entries: Sequence[Entry],
    labels: Sequence[int],
    failures: Sequence[Failure],
    mean: np.ndarray,
    views: np.ndarray,
    names: Sequence[str],
    also_right: Sequence[Sequence[int]] = (),
) -> pa.Table:
    """The rows of one chunk of n images, from probabilities `mean` [n,C] and `views` [n,10,C].

    `names` are the words of the classes, `also_right` the other right classes of each image; empty: none has any.
    Probabilities of an image that could not be decoded are ignored.
    """
    finite = [bool(np.isfinite(row).all()) for row in mean]
    undecodable = [bool(failure.reason) for failure in failures]
    answered = [not lost and is_finite for lost, is_finite in zip(undecodable, finite, strict=True)]
    columns: dict[str, list[object] | pa.Array] = {
        "id": [entry.id for entry in entries],
        "label": list(labels),
        "class_name": [names[label] for label in labels],
        "also_right": list(also_right) or [()] * len(entries),
        "undecodable": list(undecodable),
        "no_answer": [not lost and not is_finite for lost, is_finite in zip(undecodable, finite, strict=True)],
        "reason": [failure.reason for failure in failures],
        "message": [failure.message for failure in failures],
    }
    for kind, probabilities in by_kind(mean, views).items():
        top = top_k(probabilities)
        best = np.take_along_axis(probabilities, top, axis=1)
        columns[f"{kind}_indices"] = [row.tolist() if ok else [] for row, ok in zip(top, answered, strict=True)]
        columns[f"{kind}_probabilities"] = [row.tolist() if ok else [] for row, ok in zip(best, answered, strict=True)]
    has_answer = np.array(answered)
    right = mark_right(labels, also_right, len(names))[has_answer]
    for name, scores in _score(right, mean[has_answer], views[has_answer]).items():
        column = np.zeros(len(entries), scores.dtype)
        column[has_answer] = scores
        columns[name] = pa.array(column, SCHEMA.field(name).type, mask=~has_answer)
    return pa.table(columns, schema=SCHEMA)


def by_kind(mean: np.ndarray, views: np.ndarray) -> dict[str, np.ndarray]:
    """The probabilities [n,C] by the center crop ("center") and by the ten views ("ten_crop")."""
    return {"center": views[:, CENTER_VIEW], "ten_crop": mean}


def mark_right(labels: Sequence[int], also_right: Sequence[Sequence[int]], classes: int) -> np.ndarray:
    """Which classes are right for n images, bool [n,C]. Parameters as in `chunk_table`."""
    right = np.zeros((len(labels), classes), bool)
    right[np.arange(len(labels)), labels] = True
    for row, others in enumerate(also_right):
        right[row, list(others)] = True
    return right


def _score(right: np.ndarray, mean: np.ndarray, views: np.ndarray) -> dict[str, np.ndarray]:
    """The SCORES of n images that have an answer, from `mark_right` and probabilities as in `chunk_table`.

    Several right classes count as one, whose probability is their sum.
    """
    scores = {"view_agreement": count_agreement(mean.argmax(1), views).astype(np.int8)}
    for kind, probabilities in by_kind(mean, views).items():
        exact = probabilities.astype(np.float64)
        true = exact.sum(1, where=right)
        scores[f"{kind}_true_probability"] = true.astype(np.float32)
        scores[f"{kind}_brier"] = ((exact**2).sum(1, where=~right) + (1 - true) ** 2).astype(np.float32)
    exact = mean.astype(np.float64)
    logs = np.log(exact, where=exact > 0, out=np.zeros_like(exact))
    scores["entropy"] = np.abs((exact * logs).sum(1)).astype(np.float32)
    return scores


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
        table = table.select(SCHEMA.names).unify_dictionaries()
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


def find_hits(table: pa.Table, kind: str) -> np.ndarray:
    """Mark the predictions that are right, bool [n,TOP], by the center crop ("center") or the ten views."""
    top = pad_top5(table[f"{kind}_indices"])
    hits = top == table["label"].to_numpy()[:, None]
    others = table["also_right"].combine_chunks()
    rows = np.repeat(np.arange(len(top)), pc.fill_null(pc.list_value_length(others), 0).to_numpy())
    np.logical_or.at(hits, rows, top[rows] == others.flatten().to_numpy()[:, None])
    return np.asarray(hits)


def count_errors(table: pa.Table, kind: str) -> ErrorCounts:
    """Count the errors over all rows by the center crop ("center") or by the ten views ("ten_crop")."""
    return ErrorCounts.from_hits(find_hits(table, kind))
