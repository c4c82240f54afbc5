"""Feature file: one parquet file with the features of many images, and in its metadata the model that gave them."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tencrop.common.atomic import atomic_path
from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.account import Account
from tencrop.model.feature_output import VIEWS
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.provenance import Provenance

ADVICE = "`tencrop features` writes such files"
GROUP = 1024  # rows of a row group, 17 MB of fc7
COMPRESSION = "lz4"  # a search reads it in 0.6 of the time of snappy, and the file is as small


def feature_schema(width: int) -> pa.Schema:
    """The columns of a feature file."""
    columns = {"id": pa.string(), "label": pa.string(), "features": pa.list_(pa.float32(), width)}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


@dataclass(frozen=True)
class FeatureOrigin:
    """The origin of features: the model's file, the layer, and one of VIEWS (model/feature_output.py)."""

    model_sha256: str
    layer: str
    views: str


def write_feature_file(
    path: Path, tables: Iterable[pa.Table], width: int, model: Classifier, origin: FeatureOrigin, account: Account
) -> None:
    """Write tables of `feature_schema` as one file, all of it or nothing, with little memory. Raises OSError."""
    entries = {**vars(origin), **Provenance.of(model)._asdict(), "account": json.dumps(account.to_json())}
    schema = feature_schema(width).with_metadata(entries)
    options = {"use_dictionary": ["label"], "compression": COMPRESSION}
    with atomic_path(path) as partial, pq.ParquetWriter(partial, schema, **options) as writer:
        for group in _group(tables):
            writer.write_table(group, GROUP)


def _group(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join tables until they have GROUP rows."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


@dataclass(frozen=True)
class FeatureFile:
    """A feature file that was opened: its origin, its size, and its rows in blocks."""

    path: Path
    origin: FeatureOrigin
    rows: int
    width: int

    @classmethod
    def open(cls, path: Path) -> "FeatureFile":
        """Read the metadata. Raises BadInput where `path` is no feature file."""
        try:
            with closing(pq.ParquetFile(path, pre_buffer=False)) as file:
                return cls._describe(path, file)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else one_line(error)  # pyarrow has longer words for it
            raise BadInput(f"{path}: cannot be read ({why})", ADVICE) from None
        except pa.ArrowException as error:
            raise BadInput(f"{path}: no feature file ({one_line(error)})", ADVICE) from None

    @classmethod
    def _describe(cls, path: Path, file: pq.ParquetFile) -> "FeatureFile":
        schema, rows = file.schema_arrow, file.metadata.num_rows
        entries = {key.decode(errors="replace"): value for key, value in (schema.metadata or {}).items()}
        kind = schema.field("features").type if "features" in schema.names else pa.null()
        width = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
        named = (entries.get(key, b"").decode(errors="replace") for key in ("model_sha256", "layer", "views"))
        origin = FeatureOrigin(*named)
        if not width or not schema.equals(feature_schema(width)) or not origin.layer or origin.views not in VIEWS:
            raise BadInput(f"{path}: no feature file", ADVICE)
        return cls(path, origin, rows, width)

    def iter_blocks(self) -> Iterator[tuple[list[str], list[str], np.ndarray]]:
        """Yield ids, labels and features float32 [n,K] of at most GROUP images after the other.

        The file is neither mapped into memory, for one that is cut off meanwhile would end the process, nor read ahead.
        Raises BadInput where it is damaged, or has become a file of another origin.
        """
        try:
            with closing(pq.ParquetFile(self.path, pre_buffer=False)) as file:
                found = self._describe(self.path, file)
                if (found.origin, found.width) != (self.origin, self.width):
                    raise BadInput(f"{self.path}: was replaced meanwhile", "search again")
                for batch in file.iter_batches(GROUP):
                    features = batch["features"].flatten().to_numpy().reshape(-1, self.width)
                    yield batch["id"].to_pylist(), batch["label"].to_pylist(), features
        except (OSError, pa.ArrowException) as error:
            raise BadInput(f"{self.path}: damaged ({one_line(error)})", ADVICE) from None
