"""Writes tables as `save_to_disk` of `datasets` does, but with any content."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

FEATURES = {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}


def make_table(image: pa.Array, label: pa.Array | Sequence[Any], features: dict[str, Any] = FEATURES) -> pa.Table:
    """A table with the columns image and label, and the class names in its schema."""
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.table({"image": image, "label": label}).replace_schema_metadata(metadata)


def write_stream(file: Path, table: pa.Table, rows: int = 3, **options: Any) -> Path:
    """Write an Arrow stream with batches of some rows; the options are those of IpcWriteOptions."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_stream(str(file), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, rows)
    return file


def save(folder: Path, *tables: pa.Table, **options: Any) -> list[Path]:
    """Write a Dataset, each table in a file of its own."""
    names = [f"data-{number:05d}-of-{len(tables):05d}.arrow" for number in range(len(tables))]
    files = [write_stream(folder / name, table, **options) for name, table in zip(names, tables, strict=True)]
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    return files
