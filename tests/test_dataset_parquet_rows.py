"""dataset/parquet_rows.py: random access to rows; in order each row is decoded once, and few are kept."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tencrop.dataset import parquet_rows as rowgroups
from tencrop.dataset.hub_columns import ImageColumn
from tencrop.dataset.parquet_rows import KEPT, ROWS, ImageFile, RowGroups

ROW_GROUP = 300
BYTES = ImageColumn("image", "image.bytes", None)


def value(row: int) -> bytes:
    return row.to_bytes(4, "big") * 50


@pytest.fixture
def rows(tmp_path: Path) -> RowGroups:
    """1000 rows in four row groups."""
    images = pa.array([{"bytes": value(row)} for row in range(1000)], pa.struct([("bytes", pa.binary())]))
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", row_group_size=ROW_GROUP)
    return RowGroups((ImageFile(tmp_path / "a.parquet", BYTES),))


def read(rows: RowGroups, row: int) -> bytes | None:
    data, _ = rows.read(0, row // ROW_GROUP, row % ROW_GROUP)
    return data


def test_rows_are_read_in_any_order(rows: RowGroups) -> None:
    for row in (*range(1000), *np.random.default_rng(0).permutation(1000).tolist(), *range(999, 900, -1)):
        assert read(rows, row) == value(row)


def test_reading_nearly_in_order_decodes_each_row_once(rows: RowGroups, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = 0
    original = rowgroups._Cursor._restart

    def counted(cursor: rowgroups._Cursor) -> None:
        nonlocal opened
        opened += 1
        original(cursor)

    monkeypatch.setattr(rowgroups._Cursor, "_restart", counted)
    late = np.random.default_rng(0).integers(0, 60, 1000)  # rows by which threads overtake each other
    for row in np.argsort(np.arange(1000) + late, kind="stable").tolist():
        assert read(rows, row) == value(row)
    assert opened == 4


def test_few_rows_are_kept(rows: RowGroups) -> None:
    for row in range(1000):
        read(rows, row)
        assert len(rows._open) <= rowgroups.OPEN
        assert all(sum(map(len, cursor._kept)) <= ROWS * KEPT for cursor in rows._open.values())


def test_a_missing_row_is_an_os_error(rows: RowGroups) -> None:
    with pytest.raises(OSError, match="row 300 of row group 0 cannot be read"):
        rows.read(0, 0, 300)


def test_a_deleted_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        RowGroups((ImageFile(tmp_path / "nowhere.parquet", BYTES),)).read(0, 0, 0)


def test_a_file_that_was_damaged_since_is_an_os_error(rows: RowGroups, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(OSError, match="row 7 of row group 1 cannot be read") as raised:
        rows.read(0, 1, 7)
    assert (raised.value.errno, raised.value.filename) == (errno.EIO, str(file))


def test_other_threads_do_not_wait_while_a_file_is_opened(rows: RowGroups, monkeypatch: pytest.MonkeyPatch) -> None:
    original = pq.ParquetFile

    def opening(*given: Any, **more: Any) -> Any:
        assert not rows._lock.locked()
        return original(*given, **more)

    monkeypatch.setattr(pq, "ParquetFile", opening)
    assert read(rows, 7) == value(7)
