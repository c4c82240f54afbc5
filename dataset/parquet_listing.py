"""Reads the columns of a Parquet file that list its images, within a limit of memory."""

from pathlib import Path

import pyarrow.parquet as pq

from tencrop.common.errors import BadInput
from tencrop.dataset.hub_columns import Columns, Rows, check_listing
from tencrop.dataset.parquet_pages import find_column, measure_largest_page
from tencrop.dataset.parquet_rows import ImageFile

BATCH_BYTES = 64 << 20  # that the rows which are decoded together may take at most
ROWS = 1 << 16  # rows that are decoded together, fewer where paths may be long
FEW_ROWS = 100_000  # that any file may have; a larger one has at most a row for each of its bytes


def read_listing(opened: pq.ParquetFile, file: Path, columns: Columns) -> Rows:
    """Read paths and labels, and check how far the images' pages inflate.

    Raises BadInput beyond a limit of memory, OSError, ArrowException or KeyError where the file is damaged.
    """
    if opened.metadata.num_rows > max(FEW_ROWS, file.stat().st_size):
        raise BadInput(f"{file}: lists {opened.metadata.num_rows} images, more than it has bytes")
    if columns.image.bytes:
        _measure_longest(opened, file, columns.image.bytes)
    listed = [part for part in (columns.image.path, columns.label) if part]
    longest = max(_measure_longest(opened, file, part) for part in listed)
    found: list[Rows] = []
    size = 0
    for batch in opened.iter_batches(min(ROWS, max(1, BATCH_BYTES // longest)), columns=listed):
        found.append(columns.read(batch))
        size += found[-1].nbytes
        check_listing(file, size)
    return columns.join(found)


def count_without_bytes(opened: pq.ParquetFile, file: ImageFile) -> int:
    """Count the rows whose image has no bytes, without reading images where the file's statistics tell.

    Raises OSError or ArrowException where the file is damaged.
    """
    if not file.column.bytes:
        return int(opened.metadata.num_rows)
    count = 0
    for group in range(opened.num_row_groups):
        chunk = find_column(opened.metadata.row_group(group), file.column.bytes)
        statistics = chunk.statistics if chunk else None
        if statistics is not None and statistics.has_null_count:
            count += statistics.null_count
        else:
            count += sum(batch.column("bytes").null_count for batch in file.iter_batches(group))
    return count


def _measure_longest(opened: pq.ParquetFile, file: Path, column: str) -> int:
    """The bytes of the column's largest page, at least 1."""
    groups = [opened.metadata.row_group(index) for index in range(opened.num_row_groups)]
    chunks = [chunk for group in groups if (chunk := find_column(group, column))]
    return max([1, *(measure_largest_page(file, chunk) for chunk in chunks)])
