"""Thread-safe random access to Parquet rows, which caches a few rows around the last one read."""

import errno
from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tencrop.dataset.hub_columns import ImageColumn
from tencrop.dataset.parquet_pages import find_column, measure_largest_page
from tencrop.images.limits import check_bytes

ROWS = 32  # rows that are decoded together, fewer where values may be long
KEPT = 4  # times ROWS that are cached, so that a thread that comes late still finds its row
BATCH_BYTES = 32 << 20  # that the rows which are decoded together may take at most, unless one alone takes more
KEPT_BYTES = 64 << 20  # that the cached rows may take at most, unless the last ones alone take more
OPEN = 2  # open row groups: threads that read in order are in one group, or at the border of two
BUFFER = 1 << 20  # bytes read ahead per column; without a buffer pyarrow reads a whole row group


class ImageFile(NamedTuple):
    """A parquet file and its column of images; paths are read where the column names them."""

    path: Path
    column: ImageColumn

    def iter_batches(self, group: int) -> Iterator[pa.RecordBatch]:
        """Open a row group, and yield its columns `bytes` and `path`, nulls where there is none, a few rows at a time.

        Raises OSError or ArrowException where the file is missing or damaged.
        """
        opened = pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False)
        parts = [part for part in (self.column.bytes, self.column.path) if part]
        chunks = [find_column(opened.metadata.row_group(group), part) for part in parts]
        longest = max([1, *(measure_largest_page(self.path, chunk) for chunk in chunks if chunk)])
        rows = min(ROWS, max(1, BATCH_BYTES // longest))
        batches = opened.iter_batches(rows, row_groups=[group], columns=parts, use_threads=False)
        return (self.column.split(batch.column(0)) for batch in batches)


class RowGroups:
    """Reads images by (file, row group, row).

    Reading in order decodes each row once. Going back decodes the row group again from its start.
    """

    def __init__(self, files: tuple[ImageFile, ...]) -> None:
        self._files = files
        self._open: OrderedDict[tuple[int, int], _Cursor] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["RowGroups"], tuple[tuple[ImageFile, ...]]]:
        """Pickle the file names alone; another process opens the files itself."""
        return RowGroups, (self._files,)

    def read(self, file: int, group: int, row: int) -> tuple[bytes | None, str | None]:
        """Read the bytes of an image and its path; None for a null.

        Raises OSError where the file is missing or damaged, ImageTooLarge for bytes too long.
        """
        with self._lock:
            cursor = self._open.pop((file, group), None) or _Cursor(self._files[file], group)
            self._open[file, group] = cursor
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        return cursor.read(row)


class _Cursor:
    """One row group, a few rows at a time. The first read opens its file, and holds up no other row group."""

    def __init__(self, file: ImageFile, group: int) -> None:
        self._file, self._group = file, group
        self._lock = Lock()
        self._batches: Any = None
        self._kept: deque[pa.RecordBatch] = deque()
        self._kept_rows, self._kept_bytes = 0, 0
        self._end = 0  # rows decoded so far

    def _restart(self) -> None:
        self._batches = self._file.iter_batches(self._group)
        self._kept.clear()
        self._kept_rows, self._kept_bytes = 0, 0
        self._end = 0

    def read(self, row: int) -> tuple[bytes | None, str | None]:
        with self._lock:
            try:
                return self._read(row)
            except (pa.ArrowException, StopIteration, UnicodeDecodeError) as error:
                raise OSError(
                    errno.EIO, f"row {row} of row group {self._group} cannot be read ({error})", str(self._file.path)
                ) from None

    def _read(self, row: int) -> tuple[bytes | None, str | None]:
        if not self._batches or row < self._end - self._kept_rows:
            self._restart()
        while row >= self._end:
            batch = next(self._batches)
            self._end += len(batch)
            self._keep(batch)
        start = self._end
        for batch in reversed(self._kept):
            start -= len(batch)
            if row >= start:
                data, path = (batch.column(index)[row - start] for index in (0, 1))
                check_bytes(pc.binary_length(data).as_py() or 0)
                return data.as_py(), path.as_py()
        raise StopIteration

    def _keep(self, batch: pa.RecordBatch) -> None:
        self._kept.append(batch)
        self._kept_rows += len(batch)
        self._kept_bytes += batch.nbytes
        while len(self._kept) > 1 and (self._kept_rows > ROWS * KEPT or self._kept_bytes > KEPT_BYTES):
            oldest = self._kept.popleft()
            self._kept_rows -= len(oldest)
            self._kept_bytes -= oldest.nbytes
