"""One part of a prepared store: up to 1000 images, the table that lists them, and sums of their pixels.

It is written in the order images (prepared_images.py), part-00000.npz (sums), part-00000.parquet (table).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tencrop.common.atomic import atomic_path
from tencrop.dataset.prepared_images import Images, PreparedImage
from tencrop.dataset.prepared_store import SCHEMA
from tencrop.dataset.source import Entry, Source
from tencrop.images.errors import ImageError

SHA256 = pa.field("sha256", pa.binary(32))  # of the original; null where it was not read, and in parts of version 0.1
REASON = pa.field("reason", pa.string())  # code of the error of an original that cannot be decoded, else empty
TABLE = SCHEMA.append(SHA256).append(REASON)
UNKNOWN = "unknown"  # the reason in parts of version 0.1


@dataclass(frozen=True)
class PixelSums:
    """Sums over training images, before they are encoded. The mean image and the colour PCA are computed from them."""

    n: np.ndarray  # int64 [1]: number of images
    image: np.ndarray  # float64 [R,R,3]: sum of the images
    colour: np.ndarray  # float64 [3,3]: sum of pixel x pixel^T

    @classmethod
    def zeros(cls, size: int) -> "PixelSums":
        """Sums over no images of size x size pixels."""
        return cls(np.zeros(1, np.int64), np.zeros((size, size, 3)), np.zeros((3, 3)))

    def add(self, n: np.ndarray | int, image: np.ndarray, colour: np.ndarray) -> None:
        """Add sums in place."""
        for total, value in ((self.n, n), (self.image, image), (self.colour, colour)):
            total += value


@dataclass(frozen=True)
class PartWriter:
    """Writes the parts of the prepared store in `out`."""

    source: Source
    out: Path
    size: int  # of the squares
    images: Images
    prepare: Callable[[bytes], PreparedImage]  # `prepare_image`, in this process or in others
    pool: Executor  # of threads that call `prepare`

    def read_or_write(
        self, part: int, first: int, entries: Sequence[Entry], held: np.ndarray
    ) -> tuple[pa.Table, PixelSums]:
        """Read a part where it is complete, else write it; `held` marks the validation images, bool [n].

        first: the number of its first image among all.
        Returns its table, with one row per entry, and the sums over its training images.
        """
        name = self.out / f"part-{part:05d}"
        table_file, sums_file = name.with_suffix(".parquet"), name.with_suffix(".npz")
        written = _read_part(table_file, sums_file)
        if written and self._holds(part, written[0]):
            return written
        sums = PixelSums.zeros(self.size)
        rows: list[tuple[Any, ...]] = []
        with self.images.open_part(part, first) as file:
            results = self.pool.map(self._read_and_prepare, entries)
            for entry, validation, image in zip(entries, held, results, strict=True):
                place = (part, file.tell(), len(image.encoded))
                file.write(image.encoded or self.images.blank)
                rows.append((entry.id, entry.label, bool(validation), *place, image.sha256, image.reason))
                if image.pixels is not None and not validation:
                    sums.add(1, image.pixels, image.products)
        table = pa.Table.from_pylist([dict(zip(TABLE.names, row, strict=True)) for row in rows], schema=TABLE)
        with atomic_path(sums_file) as partial, partial.open("wb") as file:
            np.savez(file, n=sums.n, image=sums.image, colour=sums.colour)
        with atomic_path(table_file) as partial:
            pq.write_table(table, partial)
        return table, sums

    def _read_and_prepare(self, entry: Entry) -> PreparedImage:
        try:
            original = self.source.read(entry)
        except ImageError as error:
            return PreparedImage(None, error.code)
        return self.prepare(original)

    def _holds(self, part: int, table: pa.Table) -> bool:
        """Return whether the images of a part's table are all there."""
        file, end = self.images.find_file(part), pc.max(pc.add(table["start"], table["bytes"])).as_py()
        return file.is_file() and file.stat().st_size >= end


def _read_part(table_file: Path, sums_file: Path) -> tuple[pa.Table, PixelSums] | None:
    """Read a part's table and sums; None where one of them is missing or damaged."""
    try:
        with (
            sums_file.open("rb") as file,
            np.load(file) as stored,
        ):  # np.load leaves a damaged file open, given its path
            table = pq.read_table(table_file)
            sums = PixelSums(stored["n"], stored["image"], stored["colour"])
            return _add_columns(table) if table.schema == SCHEMA else table, sums
    except (OSError, EOFError, ValueError, KeyError, BadZipFile, pa.ArrowException):
        return None


def _add_columns(table: pa.Table) -> pa.Table:
    """Add what version 0.1 did not write."""
    reasons = pc.if_else(pc.equal(table["bytes"], 0), UNKNOWN, "")
    return table.append_column(SHA256, pa.nulls(len(table), SHA256.type)).append_column(REASON, reasons)
