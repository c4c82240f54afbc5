"""Part file: the records of one chunk, and what they no longer tell about its classes, until the run is finished."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tencrop.common.errors import WorkFailed
from tencrop.evaluation.class_sums import ClassSums
from tencrop.evaluation.plan import Plan
from tencrop.evaluation.prediction_records import SCHEMA, write_records
from tencrop.model.measured_errors import VIEWS

KEY = "class sums, {}"  # in the file's metadata, for each of VIEWS


def part_path(out: Path, chunk: int) -> Path:
    """The file of a chunk's records until the run is finished."""
    return out / "parts" / f"{chunk:07d}.parquet"


@contextmanager
def explain_full_disk(out: Path) -> Iterator[None]:
    """Raise WorkFailed, in words, where a part file cannot be written to `out` within the block."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error  # pyarrow has longer words for it
        advice = "finished images are kept: make room, then --resume"
        raise WorkFailed(f"{out}: cannot be written ({why})", advice) from None


def remove_parts(out: Path, chunks: int) -> None:
    """Remove all part files of a finished run, and their folder."""
    for chunk in range(chunks):
        part_path(out, chunk).unlink()
    (out / "parts").rmdir()


def write_part(out: Path, chunk: int, table: pa.Table, sums: Mapping[str, ClassSums]) -> None:
    """Write a chunk's records and its sums by each kind of VIEWS, all of it or nothing. Raises OSError."""
    packed = {KEY.format(kind): sums[kind].to_bytes() for kind in VIEWS}
    write_records(part_path(out, chunk), table.replace_schema_metadata(packed))


def read_part(out: Path, chunk: int) -> tuple[pa.Table, dict[str, ClassSums]]:
    """Read what `write_part` wrote.

    Raises OSError or ArrowException where the file is missing or damaged, ValueError where it is of another version.
    """
    table = pq.read_table(part_path(out, chunk))
    metadata = table.schema.metadata or {}
    if table.schema != SCHEMA or any(KEY.format(kind).encode() not in metadata for kind in VIEWS):
        raise ValueError("a part file of another version")
    sums = {kind: ClassSums.from_bytes(metadata[KEY.format(kind).encode()]) for kind in VIEWS}
    return table.replace_schema_metadata(), sums


def is_complete(out: Path, plan: Plan, chunk: int) -> bool:
    """Return whether the chunk's part file is there, undamaged, of this version and of these images."""
    try:
        table, _ = read_part(out, chunk)
    except (OSError, ValueError, pa.ArrowException):
        return False
    return bool(table["id"].to_pylist() == [entry.id for entry in plan.chunk(chunk)[0]])
