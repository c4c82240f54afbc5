"""Reads the columns of a Parquet file that list its images, within a limit of memory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tencrop.common.errors import BadInput
from tencrop.dataset.parquet_pages import find_column, measure_largest_page

IMAGE, PATH, LABEL = "image.bytes", "image.path", "label"
MAX_LISTING = 256 << 20  # bytes of the paths and labels of one file; 1.3 million of ImageNet's take 70 MB
BATCH_BYTES = 64 << 20  # that the rows which are decoded together may take at most
ROWS = 1 << 16  # rows that are decoded together, fewer where paths may be long
FEW_ROWS = 100_000  # that any file may have; a larger one has at most a row for each of its bytes


def read_listing(opened: pq.ParquetFile, file: Path) -> pa.Table:
    """Read paths and labels, and check how far the images' pages inflate. Raises BadInput beyond a limit of memory."""
    if opened.metadata.num_rows > max(FEW_ROWS, file.stat().st_size):
        raise BadInput(f"{file}: lists {opened.metadata.num_rows} images, more than it has bytes")
    _measure_longest(opened, file, IMAGE)
    longest = max(_measure_longest(opened, file, PATH), _measure_longest(opened, file, LABEL))
    rows = min(ROWS, max(1, BATCH_BYTES // longest))
    batches, size = [], 0
    for batch in opened.iter_batches(rows, columns=[PATH, LABEL]):
        batches.append(batch)
        size += batch.nbytes
        if size > MAX_LISTING:
            raise BadInput(f"{file}: the paths and labels of its images take more than {MAX_LISTING} bytes")
    return pa.Table.from_batches(batches) if batches else opened.read(columns=[PATH, LABEL])


def _measure_longest(opened: pq.ParquetFile, file: Path, column: str) -> int:
    """The bytes of the column's largest page, at least 1."""
    groups = [opened.metadata.row_group(index) for index in range(opened.num_row_groups)]
    chunks = [chunk for group in groups if (chunk := find_column(group, column))]
    return max([1, *(measure_largest_page(file, chunk) for chunk in chunks)])
