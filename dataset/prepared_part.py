"""One part of a prepared store: up to 1000 images as JPEG, the table that lists them, and sums of their pixels.

Its files are written in the order part-00000.bin (JPEGs end to end), part-00000.npz (sums), part-00000.parquet (table).
"""

import io
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tencrop.common.atomic import atomic_path
from tencrop.dataset.prepared_store import SCHEMA
from tencrop.dataset.source import Entry, Source
from tencrop.images.decode import decode
from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract

QUALITY = 95  # of the JPEGs, with chroma at full resolution


@dataclass(frozen=True)
class PixelSums:
    """Sums over training images, before JPEG. The mean image and the colour PCA are computed from them."""

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
    contract: Contract
    pool: Executor  # decodes

    def read_or_write(self, part: int, entries: Sequence[Entry], held: np.ndarray) -> tuple[pa.Table, PixelSums]:
        """Read a part where it is complete, else write it; `held` marks the validation images, bool [n].

        Returns its table, with one row per entry, and the sums over its training images.
        """
        name = self.out / f"part-{part:05d}"
        table_file, sums_file = name.with_suffix(".parquet"), name.with_suffix(".npz")
        if complete := _read_part(table_file, sums_file):
            return complete
        sums = PixelSums.zeros(self.contract.resize)
        rows: list[tuple[str, int, bool, int, int, int]] = []
        start = 0
        with atomic_path(name.with_suffix(".bin")) as partial, partial.open("wb") as packed:
            results = self.pool.map(lambda entry: _prepare_image(self.source, entry, self.contract), entries)
            for entry, validation, (pixels, jpeg, products) in zip(entries, held, results, strict=True):
                packed.write(jpeg)
                rows.append((entry.id, entry.label, bool(validation), part, start, len(jpeg)))
                start += len(jpeg)
                if pixels is not None and not validation:
                    sums.add(1, pixels, products)
        table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)
        with atomic_path(sums_file) as partial, partial.open("wb") as file:
            np.savez(file, n=sums.n, image=sums.image, colour=sums.colour)
        with atomic_path(table_file) as partial:
            pq.write_table(table, partial)
        return table, sums


def _read_part(table_file: Path, sums_file: Path) -> tuple[pa.Table, PixelSums] | None:
    """Read a part's table and sums; None where one of them is missing or damaged."""
    try:
        with (
            sums_file.open("rb") as file,
            np.load(file) as stored,
        ):  # np.load leaves a damaged file open, given its path
            return pq.read_table(table_file), PixelSums(stored["n"], stored["image"], stored["colour"])
    except (OSError, EOFError, ValueError, KeyError, BadZipFile, pa.ArrowException):
        return None


def _prepare_image(source: Source, entry: Entry, contract: Contract) -> tuple[np.ndarray | None, bytes, np.ndarray]:
    """Decode an image; returns its pixels, their JPEG, and the sum of pixel x pixel^T.

    An image that cannot be decoded gives no pixels and no bytes.
    """
    try:
        pixels, _ = decode(source.read(entry), contract)
    except ImageError:
        return None, b"", np.zeros((3, 3))
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=QUALITY, subsampling=0)
    flat = pixels.reshape(-1, 3).astype(np.float64)
    return pixels, packed.getvalue(), flat.T @ flat
