"""The columns of a table of the Hugging Face hub that are read: images, in each of their forms, and labels."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tencrop.common.errors import BadInput

MAX_LISTING = 256 << 20  # bytes of the rows of one file; the paths and labels of ImageNet's 1.3 million take 70 MB


class ImageColumn(NamedTuple):
    """The column of the images, and its parts by their paths in the schema, such as image.bytes."""

    name: str
    bytes: str | None  # None where the column holds paths alone
    path: str | None  # None where it holds no paths

    def split(self, images: pa.Array) -> pa.RecordBatch:
        """Split rows of the column into the columns `bytes` and `path`, with nulls for one that was not read."""
        parts = {"bytes" if self.bytes else "path": images}
        if types.is_struct(images.type):
            read = {images.type.field(index).name for index in range(images.type.num_fields)}
            wanted = [name for name, part in (("bytes", self.bytes), ("path", self.path)) if part and name in read]
            parts = {name: pc.struct_field(images, name) for name in wanted}
        empty = {"bytes": pa.nulls(len(images), pa.binary()), "path": pa.nulls(len(images), pa.string())}
        return pa.RecordBatch.from_pydict(empty | parts)


class Rows(NamedTuple):
    """Rows of a table without the images."""

    paths: pa.Array  # string [n]
    labels: pa.Array  # string or int32 [n]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return int(self.paths.nbytes + self.labels.nbytes)


class Columns(NamedTuple):
    """The columns that are read of a table, and how."""

    image: ImageColumn
    label: str
    has_texts: bool  # labels are texts; else they are numbers
    words: tuple[str, ...]  # class names by number; empty where the schema has none

    def read(self, batch: pa.RecordBatch) -> Rows:
        """Read the paths and labels of some rows. Raises ArrowException where these are damaged, KeyError."""
        batch.validate(full=True)  # offsets are within the buffers, texts are UTF-8
        if self.image.path:
            paths = self.image.split(batch.column(self.image.name)).column("path").cast(pa.string())
        else:
            paths = pa.nulls(len(batch), pa.string())
        return Rows(paths, batch.column(self.label).cast(self._label_type))

    def join(self, parts: Iterable[Rows]) -> Rows:
        """Copy rows into one, which needs no file that they were mapped from."""
        empty = Rows(pa.array([], pa.string()), pa.array([], self._label_type))
        return Rows(*(pa.concat_arrays(arrays) for arrays in zip(empty, *parts, strict=True)))

    @property
    def _label_type(self) -> pa.DataType:
        return pa.string() if self.has_texts else pa.int32()


def check_listing(file: Path, size: int) -> None:
    """Raise BadInput where the rows that are read of a file take more than MAX_LISTING bytes in memory."""
    if size > MAX_LISTING:
        raise BadInput(f"{file}: the paths and labels of its images take more than {MAX_LISTING} bytes")
