"""Thread-safe random access to Parquet rows, which caches a few rows around the last one read."""

import errno
from collections import OrderedDict, deque
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tencrop.dataset.parquet_listing import IMAGE
from tencrop.dataset.parquet_pages import find_column, measure_largest_page
from tencrop.images.limits import check_bytes

ROWS = 32  # rows that are decoded together, fewer where values may be long
KEPT = 4  # times ROWS that are cached, so that a thread that comes late still finds its row
BATCH_BYTES = 64 << 20  # that the rows which are decoded together may take at most, unless one alone takes more
KEPT_BYTES = 128 << 20  # that the cached rows may take at most, unless the last ones alone take more
OPEN = 2  # open row groups: threads that read in order are in one group, or at the border of two
BUFFER = 1 << 20  # bytes read ahead per column; without a buffer pyarrow reads a whole row group


class RowGroups:
    """Reads image.bytes by (file, row group, row).

    Reading in order decodes each row once. Going back decodes the row group again from its start.
    """

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._open: OrderedDict[tuple[int, int], _Cursor] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["RowGroups"], tuple[tuple[Path, ...]]]:
        """Pickle the file names alone; another process opens the files itself."""
        return RowGroups, (self._files,)

    def read(self, file: int, group: int, row: int) -> bytes:
        """Read a value. Raises OSError where the file is missing or damaged, ImageTooLarge for a value too long."""
        with self._lock:
            cursor = self._open.pop((file, group), None) or _Cursor(self._files[file], group)
            self._open[file, group] = cursor
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        return cursor.read(row)


class _Cursor:
    """One row group, a few rows at a time. The first read opens its file, and holds up no other row group."""

    def __init__(self, file: Path, group: int) -> None:
        self._file, self._group = file, group
        self._lock = Lock()
        self._batches: Any = None
        self._kept: deque[pa.Array] = deque()
        self._kept_rows, self._kept_bytes = 0, 0
        self._end = 0  # rows decoded so far

    def _restart(self) -> None:
        opened = pq.ParquetFile(self._file, buffer_size=BUFFER, pre_buffer=False)
        chunk = find_column(opened.metadata.row_group(self._group), IMAGE)
        longest = measure_largest_page(self._file, chunk) if chunk else 0
        rows = min(ROWS, max(1, BATCH_BYTES // max(longest, 1)))
        self._batches = opened.iter_batches(rows, row_groups=[self._group], columns=[IMAGE], use_threads=False)
        self._kept.clear()
        self._kept_rows, self._kept_bytes = 0, 0
        self._end = 0

    def read(self, row: int) -> bytes:
        with self._lock:
            try:
                return self._read(row)
            except (pa.ArrowException, StopIteration) as error:
                raise OSError(
                    errno.EIO, f"row {row} of row group {self._group} cannot be read ({error})", str(self._file)
                ) from None

    def _read(self, row: int) -> bytes:
        if not self._batches or row < self._end - self._kept_rows:
            self._restart()
        while row >= self._end:
            images = next(self._batches).column(0)
            self._end += len(images)
            self._keep(images.field("bytes"))
        start = self._end
        for batch in reversed(self._kept):
            start -= len(batch)
            if row >= start:
                check_bytes(pc.binary_length(batch[row - start]).as_py() or 0)
                return batch[row - start].as_py() or b""
        raise StopIteration

    def _keep(self, batch: pa.Array) -> None:
        self._kept.append(batch)
        self._kept_rows += len(batch)
        self._kept_bytes += batch.nbytes
        while len(self._kept) > 1 and (self._kept_rows > ROWS * KEPT or self._kept_bytes > KEPT_BYTES):
            oldest = self._kept.popleft()
            self._kept_rows -= len(oldest)
            self._kept_bytes -= oldest.nbytes
