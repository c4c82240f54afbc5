"""dataset/hub_schema.py: the columns that people have are found, and a choice that is open is the user's."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tencrop.common.errors import BadInput
from tencrop.dataset.hub_columns import Columns, ImageColumn
from tencrop.dataset.hub_schema import choose_columns
from tencrop.dataset.source_options import SourceOptions

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CIFAR100 = [("img", STRUCT), ("fine_label", pa.int64()), ("coarse_label", pa.int64())]


def choose(*fields: tuple[str, pa.DataType], features: dict[str, Any] | None = None, **options: Any) -> Columns:
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()} if features else None
    return choose_columns(Path("a.parquet"), pa.schema(fields, metadata), SourceOptions(**options))


IMAGES: dict[str, tuple[pa.DataType, str | None, str | None]] = {
    "bytes and path": (STRUCT, "{}.bytes", "{}.path"),
    "path and bytes": (pa.struct([("path", pa.large_string()), ("bytes", pa.large_binary())]), "{}.bytes", "{}.path"),
    "bytes in a struct": (pa.struct([("bytes", pa.binary())]), "{}.bytes", None),
    "bytes": (pa.binary(), "{}", None),
    "large bytes": (pa.large_binary(), "{}", None),
}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("name", ["image", "img", "pixel_values", "jpg"])
def test_a_column_of_bytes_is_the_image(kind: str, name: str) -> None:
    type, data, path = IMAGES[kind]
    image, label, has_texts, words = choose((name, type), ("label", pa.int64()))
    assert image == ImageColumn(name, data and data.format(name), path and path.format(name))
    assert (label, has_texts, words) == ("label", False, ())


@pytest.mark.parametrize("name", ["label", "labels", "fine_label", "class", "target"])
@pytest.mark.parametrize("texts", [False, True], ids=["numbers", "texts"])
def test_a_column_that_is_named_for_labels_holds_them(name: str, texts: bool) -> None:
    for type in (pa.string(), pa.large_string()) if texts else (pa.int64(), pa.uint8(), pa.float64()):
        for stored in (type, pa.dictionary(pa.int32(), type)):
            found = choose(("image", STRUCT), ("id", pa.int64()), ("caption", pa.string()), (name, stored))
            assert (found.label, found.has_texts) == (name, texts)


def test_a_class_label_is_the_label_whatever_its_name_and_names_the_classes() -> None:
    features = {"species": {"names": ["ant", "bee"], "_type": "ClassLabel"}, "id": {"dtype": "int64", "_type": "Value"}}
    found = choose(("id", pa.int64()), ("image", STRUCT), ("species", pa.int64()), features=features)
    assert (found.label, found.words) == ("species", ("ant", "bee"))


def test_a_struct_with_bytes_is_the_image_whatever_its_name_and_bytes_alone_are_not() -> None:
    assert choose(("a.b", STRUCT), ("hash", pa.binary()), ("label", pa.int64())).image.bytes == "a.b.bytes"
    with pytest.raises(BadInput, match=r"no column of encoded images among hash \(binary\), label"):
        choose(("hash", pa.binary()), ("label", pa.int64()))
    assert choose(("hash", pa.binary()), ("label", pa.int64()), image_column="hash").image.bytes == "hash"


def test_paths_compete_with_bytes_where_their_folder_is_given(tmp_path: Path) -> None:
    fields = (("img", pa.string()), ("png", pa.binary()), ("label", pa.int64()))
    assert choose(*fields).image.name == "png"
    with pytest.raises(BadInput, match=r"the columns png, img may hold the encoded images"):
        choose(*fields, image_root=tmp_path)


def test_sound_is_no_image() -> None:
    features = {"sound": {"_type": "Audio"}, "photo": {"_type": "Image"}}
    found = choose(("sound", STRUCT), ("photo", STRUCT), ("label", pa.int64()), features=features)
    assert found.image.name == "photo"


def test_the_usual_names_are_taken_among_several() -> None:
    found = choose(*CIFAR100, ("label", pa.int64()), ("mask", STRUCT), ("image", STRUCT))
    assert (found.image.name, found.label) == ("image", "label")


def test_a_choice_among_several_is_the_users() -> None:
    line = "the columns fine_label, coarse_label may hold the labels; choose one with --label-column NAME$"
    with pytest.raises(BadInput, match=line):
        choose(*CIFAR100)
    assert choose(*CIFAR100, label_column="coarse_label").label == "coarse_label"
    fields = (("img", STRUCT), ("mask", STRUCT), ("label", pa.int64()))
    with pytest.raises(BadInput, match="the columns img, mask may hold the encoded images; choose one with --im"):
        choose(*fields)
    assert choose(*fields, image_column="mask").image == ImageColumn("mask", "mask.bytes", "mask.path")


def test_an_option_may_name_a_column_with_another_name_or_beside_the_usual_one() -> None:
    fields = (("image", STRUCT), ("thumbnail", STRUCT), ("label", pa.int64()), ("genus", pa.string()))
    found = choose(*fields, image_column="thumbnail", label_column="genus")
    assert (found.image.name, found.label, found.has_texts) == ("thumbnail", "genus", True)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"image_column": "x"},
            r"no column 'x' of encoded images among image \(struct<bytes: binary, path: string>\), ",
        ),
        (
            {"label_column": "x"},
            r"no column 'x' of labels among image \(.*\), label \(int64\); expected numbers or texts",
        ),
        ({"image_column": "label"}, "no column 'label' of encoded images"),
        ({"label_column": "image"}, "no column 'image' of labels"),
        ({"image_column": ""}, "no column '' of encoded images"),
    ],
    ids=["no image", "no label", "label as image", "image as label", "empty"],
)
def test_an_option_that_names_no_such_column_is_refused(options: dict[str, Any], line: str) -> None:
    with pytest.raises(BadInput, match=line):
        choose(("image", STRUCT), ("label", pa.int64()), **options)


PIXELS = pa.list_(pa.list_(pa.list_(pa.float32())))


@pytest.mark.parametrize("options", [{}, {"image_column": "pixel_values"}], ids=["chosen", "named"])
def test_arrays_of_pixels_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"pixel_values \(list<.*; expected JPEG .* arrays of pixels are not read$"):
        choose(("pixel_values", PIXELS), ("label", pa.int64()), **options)


def test_several_labels_of_one_image_are_refused() -> None:
    with pytest.raises(BadInput, match=r"no column of labels among image \(.*\), labels \(list<"):
        choose(("image", STRUCT), ("labels", pa.list_(pa.int64())))


def test_a_message_about_many_columns_is_short() -> None:
    with pytest.raises(BadInput) as raised:
        choose(*[(f"column {number}\n", PIXELS) for number in range(1000)])
    assert len(str(raised.value)) < 500 and "\n" not in str(raised.value)


def test_a_column_of_paths_needs_their_folder(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {"image": {}, "file": {"image_column": "file"}}
    for name, options in cases.items():
        fields = ((name, pa.string()), ("label", pa.int64()))
        with pytest.raises(BadInput, match=f"a.parquet: {name} holds the paths of images; give their folder with --im"):
            choose(*fields, **options)
        assert choose(*fields, **options, image_root=tmp_path).image == ImageColumn(name, None, name)


@pytest.mark.parametrize(
    "text",
    [b"", b"no json", b"[]", b"3", b'{"info": 3}', b'{"info": {"features": []}}', b'{"info":' * 100_000, b"\xff"],
    ids=["empty", "no json", "list", "number", "no info", "no features", "deep", "no text"],
)
def test_metadata_of_another_form_names_no_classes(text: bytes) -> None:
    schema = pa.schema([("image", STRUCT), ("label", pa.int64())], {b"huggingface": text})
    assert choose_columns(Path("a.parquet"), schema, SourceOptions()).words == ()


@pytest.mark.parametrize(
    "feature", [3, [], {}, {"names": 3, "_type": "ClassLabel"}, {"_type": ["ClassLabel"]}], ids=str
)
def test_a_feature_of_another_form_names_no_classes(feature: Any) -> None:
    assert choose(("image", STRUCT), ("label", pa.int64()), features={"label": feature}).words == ()
