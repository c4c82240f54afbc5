"""Rows of parquet files at random, for several threads: a few rows around the last one read are kept, and no more."""

import errno
from collections import OrderedDict, deque
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 32  # rows that are decoded together
KEPT = 4  # times ROWS: a thread that comes late still finds its row
OPEN = 2  # row groups at a time: threads that read in order are in one, or at its border to the next
BUFFER = 1 << 20  # bytes read ahead of a column; without it pyarrow reads a row group whole


class RowGroups:
    """image.bytes by (file, row group, row). Reading in order decodes each row once; going back starts the row group again."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._open: OrderedDict[tuple[int, int], _Cursor] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["RowGroups"], tuple[tuple[Path, ...]]]:
        """For another process: the files, nothing that is open."""
        return RowGroups, (self._files,)

    def read(self, file: int, group: int, row: int) -> bytes:
        """Raises OSError where the file is gone or damaged."""
        with self._lock:
            cursor = self._open.pop((file, group), None) or _Cursor(self._files[file], group)
            self._open[file, group] = cursor
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        return cursor.read(row)


class _Cursor:
    """One row group, decoded ROWS at a time; its file is opened by the first read, which other row groups do not wait for."""

    def __init__(self, file: Path, group: int) -> None:
        self._file, self._group = file, group
        self._lock = Lock()
        self._batches: Any = None
        self._kept: deque[pa.Array] = deque(maxlen=KEPT)
        self._end = 0  # rows decoded so far

    def _restart(self) -> None:
        opened = pq.ParquetFile(self._file, buffer_size=BUFFER, pre_buffer=False)
        self._batches = opened.iter_batches(ROWS, row_groups=[self._group], columns=["image.bytes"], use_threads=False)
        self._kept.clear()
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
        if not self._batches or row < self._end - sum(map(len, self._kept)):
            self._restart()
        while row >= self._end:
            images = next(self._batches).column(0)
            self._kept.append(images.field("bytes"))
            self._end += len(images)
        start = self._end
        for batch in reversed(self._kept):
            start -= len(batch)
            if row >= start:
                return batch[row - start].as_py() or b""
        raise StopIteration
