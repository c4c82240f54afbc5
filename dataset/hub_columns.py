"""Chooses a table's columns of images and labels, and reads the class names, by the schema that `datasets` writes.

The schema's metadata tells the kind of a column (Image, ClassLabel) under info.features.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.source_options import SourceOptions

IMAGES = ("image", "img", "pixel_values")  # names of columns of paths alone; columns of bytes may have any
LABELS = ("label", "labels", "fine_label", "coarse_label", "class", "class_id", "class_name", "category", "target")
MAX_TYPE = 60  # characters of a column's type that a message shows

T = TypeVar("T")


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
    """What is read of a table."""

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


class _Kind(NamedTuple):
    """A kind of column, in the words of a message."""

    what: str
    option: str
    usual: str  # the name that is taken where several columns are of this kind
    expected: str


IMAGE = _Kind(
    "encoded images",
    "--image-column",
    "image",
    "expected JPEG or PNG files as bytes, alone or in a struct with their path; arrays of pixels are not read",
)
LABEL = _Kind("labels", "--label-column", "label", "expected numbers or texts; --label-column NAME chooses a column")


def choose_columns(file: Path, schema: pa.Schema, options: SourceOptions) -> Columns:
    """Choose the columns that the options name, else the usual ones, else the only ones of their kind.

    Raises BadInput where there is none, and where several are left.
    """
    features = _read_features(schema.metadata or {})
    image = _pick(file, schema, IMAGE, _find_images(schema, features, options.image_column), options.image_column)
    if not image.bytes and not options.image_root:
        raise BadInput(f"{file}: {image.name} holds the paths of images", "give their folder with --image-root DIR")
    labels = _find_labels(schema, features, options.label_column)
    label = _pick(file, schema, LABEL, labels, options.label_column)
    return Columns(image, label.name, _is_text(_value_type(label)), _read_words(features.get(label.name)))


def _pick(file: Path, schema: pa.Schema, kind: _Kind, found: Mapping[str, T], wanted: str | None) -> T:
    """Pick one of the columns of a kind. Raises BadInput."""
    names = [kind.usual] if kind.usual in found else list(found)
    if wanted is not None:
        names = [wanted]
    if len(names) > 1:
        raise BadInput(
            f"{file}: the columns {one_line(', '.join(names))} may hold the {kind.what}",
            f"choose one with {kind.option} NAME",
        )
    if not names or names[0] not in found:
        where = "no column" if wanted is None else f"no column {wanted!r}"
        described = one_line(", ".join(f"{field.name} ({str(field.type)[:MAX_TYPE]})" for field in schema))
        raise BadInput(f"{file}: {where} of {kind.what} among {described or 'no columns'}", kind.expected)
    return found[names[0]]


def _find_images(schema: pa.Schema, features: Mapping[str, Any], wanted: str | None) -> dict[str, ImageColumn]:
    """Find the columns of encoded images, and the column of paths that is wanted or, where no other is, usual."""
    encoded = {field.name: column for field in schema if (column := _as_encoded(field, features))}
    usual = () if encoded else IMAGES
    names = usual if wanted is None else (wanted,)
    paths = [name for name in names if name in schema.names and _is_text(schema.field(name).type)]
    return encoded | {name: ImageColumn(name, None, name) for name in paths}


def _as_encoded(field: pa.Field, features: Mapping[str, Any]) -> ImageColumn | None:
    """The column's parts where it holds bytes, alone or in a struct, that are not of audio, video or the like."""
    if _kind_of(features.get(field.name)) not in (None, "Image", "Value"):
        return None
    if _is_binary(field.type):
        return ImageColumn(field.name, field.name, None)
    if not types.is_struct(field.type):
        return None
    parts = {part.name: part.type for part in field.type}
    if "bytes" not in parts or not _is_binary(parts["bytes"]):
        return None
    has_path = "path" in parts and _is_text(parts["path"])
    return ImageColumn(field.name, f"{field.name}.bytes", f"{field.name}.path" if has_path else None)


def _find_labels(schema: pa.Schema, features: Mapping[str, Any], wanted: str | None) -> dict[str, pa.Field]:
    """Find the columns that a label's name or kind marks, or the one that is wanted."""
    return {
        field.name: field
        for field in schema
        if field.name == wanted or field.name in LABELS or _kind_of(features.get(field.name)) == "ClassLabel"
        if _is_text(_value_type(field)) or _is_number(_value_type(field))
    }


def _value_type(field: pa.Field) -> pa.DataType:
    """The type of the column's values, which may be stored as numbers of a dictionary."""
    return field.type.value_type if types.is_dictionary(field.type) else field.type


def _is_binary(kind: pa.DataType) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _read_features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """Read the kinds of the columns from the schema's metadata; empty where it has none."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _kind_of(feature: Any) -> Any:
    return feature.get("_type") if isinstance(feature, dict) else None


def _read_words(feature: Any) -> tuple[str, ...]:
    """Read the class names of a ClassLabel."""
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()
