"""Chooses a table's columns of images and labels, and reads the class names, by the schema that `datasets` writes.

The schema's metadata tells the kind of a column (Image, ClassLabel) under info.features.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
from pyarrow import types

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.hub_columns import Columns, ImageColumn
from tencrop.dataset.source_options import SourceOptions

IMAGES = ("image", "images", "img", "pixel_values", "image_bytes", "picture", "photo", "jpg", "jpeg", "png", "webp")
LABELS = ("label", "labels", "fine_label", "coarse_label", "class", "class_id", "class_name", "category", "target")
MAX_TYPE = 60  # characters of a column's type that a message shows

T = TypeVar("T")


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
    image = _pick(file, schema, IMAGE, _find_images(schema, features, options), options.image_column)
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
        advice = did_you_mean(wanted or "", {*schema.names} - {wanted}, kind.expected)
        raise BadInput(f"{file}: {where} of {kind.what} among {described or 'no columns'}", advice)
    return found[names[0]]


def _find_images(schema: pa.Schema, features: Mapping[str, Any], options: SourceOptions) -> dict[str, ImageColumn]:
    """Find the columns of images: of structs with bytes, and of bytes or paths that have a usual name or are wanted.

    Paths of a usual name count where there are no bytes, or where the folder of their files is given.
    """
    wanted = options.image_column
    named = IMAGES if wanted is None else (wanted,)
    fields = [field for field in schema if _kind_of(features.get(field.name)) in (None, "Image", "Value")]
    found = {field.name: column for field in fields if (column := _as_struct(field))}
    others = [field for field in fields if field.name in named]
    found |= {field.name: ImageColumn(field.name, field.name, None) for field in others if _is_binary(field.type)}
    if found and wanted is None and not options.image_root:
        return found
    return found | {field.name: ImageColumn(field.name, None, field.name) for field in others if _is_text(field.type)}


def _as_struct(field: pa.Field) -> ImageColumn | None:
    """The parts of a column of structs, as `datasets` stores images; None where it has no bytes."""
    parts = {part.name: part.type for part in field.type} if types.is_struct(field.type) else {}
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
