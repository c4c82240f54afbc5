"""dataset/names_file.py: the forms in which people have class names are read, and every other form is one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tencrop.common.errors import BadInput
from tencrop.dataset.names_file import MAX_NAMES, NamesFile, read_names_file
from tencrop.model.contract import Label

CRANES = ("tench", "crane", "great white shark", "crane")


def read(folder: Path, content: str | bytes, name: str = "names.txt", any_id: bool = True) -> NamesFile:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_names_file(folder / name, any_id)


def read_json(folder: Path, document: Any) -> NamesFile:
    return read(folder, json.dumps(document), "classes.json")


@pytest.mark.parametrize("any_id", [True, False])
def test_lines_of_wnid_and_words(any_id: bool, tmp_path: Path) -> None:
    text = "n02119789 kit fox, Vulpes macrotis\r\n\r\nn01440764\ttench, Tinca tinca\r\n"
    file = read(tmp_path, text, any_id=any_id)
    assert file.has_ids
    assert file.labels == (
        Label("n02119789", "kit fox, Vulpes macrotis"),
        Label("n01440764", "tench, Tinca tinca"),
    )


def test_lines_of_wnids_alone_are_ids(tmp_path: Path) -> None:
    file = read(tmp_path, "n01440764\nn01443537\n")
    assert file.has_ids
    assert file.labels == (Label("n01440764", "n01440764"), Label("n01443537", "n01443537"))


def test_words_may_be_any_unicode_after_a_byte_order_mark(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + "c1 naïve 猫\n".encode()).make_table() == {"c1": "naïve 猫"}


def test_equal_names_without_ids_get_their_numbers(tmp_path: Path) -> None:
    file = read(tmp_path, "\n".join(CRANES))
    assert not file.has_ids
    assert [label.name for label in file.labels] == list(CRANES)
    assert [label.id for label in file.labels] == ["tench", "crane #1", "great white shark", "crane #3"]


@pytest.mark.parametrize(
    "lines", [("3d printer", "3d glasses"), ("4x4 car", "2d plotter"), ("kit fox", "English setter")]
)
def test_lines_of_two_words_are_names_where_only_wnids_are_ids(lines: tuple[str, ...], tmp_path: Path) -> None:
    assert read(tmp_path, "\n".join(lines), any_id=False).labels == tuple(Label(line, line) for line in lines)


def test_lines_of_two_words_begin_with_an_id_where_any_id_may_stand(tmp_path: Path) -> None:
    assert read(tmp_path, "zebra striped\nn01440764 tench\n").make_table() == {"zebra": "striped", "n01440764": "tench"}


def test_imagenet_class_index_of_keras(tmp_path: Path) -> None:
    table = {"1": ["n02012849", "crane"], "0": ["n01484850", "great_white_shark"], "2": ["n03126707", "crane"]}
    file = read_json(tmp_path, table)
    assert file.has_ids
    assert file.labels == (
        Label("n01484850", "great white shark"),
        Label("n02012849", "crane"),
        Label("n03126707", "crane"),
    )


@pytest.mark.parametrize("label2id", [None, {"tench": 0, "crane": 3, "great white shark": "2"}], ids=["none", "both"])
def test_config_of_hugging_face(label2id: dict[str, Any] | None, tmp_path: Path) -> None:
    numbers = {str(number): name for number, name in reversed(list(enumerate(CRANES)))}
    document = {"architectures": ["ResNetForImageClassification"], "id2label": numbers, "label2id": label2id}
    file = read_json(tmp_path, document)
    assert not file.has_ids
    assert [label.id for label in file.labels] == ["tench", "crane #1", "great white shark", "crane #3"]
    assert read_json(tmp_path, numbers) == file


def test_a_thousand_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    file = read_json(tmp_path, {"id2label": {str(number): f"class {number}" for number in range(1000)}})
    assert [label.name for label in file.labels] == [f"class {number}" for number in range(1000)]


REFUSED: dict[str, tuple[str, str | bytes, str]] = {
    "empty": ("names.txt", "\n \n", "is empty"),
    "no text": ("names.txt", b"n01 t\xffnch\n", "cannot be read as text"),
    "an id twice": ("names.txt", "ant an insect\nant another\n", "names 'ant' twice"),
    "a wnid twice": ("names.txt", "n02012849 crane\nn03126707 crane\nn02012849 crane", "names 'n02012849' twice"),
    "a wnid without words": ("names.txt", "n01440764 tench\nn01443537\n", "the line 'n01443537' is no wnid with words"),
    "commas": ("names.txt", "n01440764,tench\nn01443537,goldfish\n", "'n01440764,tench' is no wnid with words"),
    "commas and spaces": ("names.txt", "n01440764, tench\nn01443537, goldfish\n", "'n01440764, tench' is no wnid"),
    "a Python dictionary": ("names.txt", "{0: 'tench, Tinca tinca',\n 1: 'goldfish'}", "is not JSON"),
    "half a JSON": ("a.json", '{"0": ["n01440764", "te', "is not JSON"),
    "deep JSON": ("a.json", "[" * 100_000, "is not JSON"),
    "a JSON list": ("a.json", '["tench"]', "is a JSON list and no object"),
    "a JSON text": ("a.json", '"tench"', "is a JSON value and no object"),
    "an empty JSON": ("a.json", "{}", "a JSON object without id2label (it has no keys)"),
    "a config without names": (
        "config.json",
        '{"depths": [3], "hidden_act": "relu"}',
        "(it has 'depths', 'hidden_act')",
    ),
    "a list as id2label": ("config.json", '{"id2label": ["tench"]}', "without id2label"),
    "a hole": ("a.json", '{"0": "tench", "2": "crane"}', "has 2 classes, but no class 1"),
    "numbers from 1": ("a.json", '{"1": "tench", "2": "crane"}', "has 2 classes, but no class 0"),
    "a long number": ("a.json", json.dumps({"9" * 5000: "tench"}), "has 1 classes, but no class 0"),
    "a number for a name": ("a.json", '{"0": "tench", "1": 7}', "class 1 is 7"),
    "half a character": ("a.json", '{"0": "tench", "1": "\\ud800"}', 'class 1 is "\\ud800"'),
    "a blank name": ("a.json", '{"0": "tench", "1": " "}', 'class 1 is " "'),
    "names beside pairs": ("a.json", '{"0": "tench", "1": ["n01443537", "goldfish"]}', 'class 1 is ["n01443537", "gol'),
    "a triple": ("a.json", '{"0": ["n01440764", "tench", "fish"]}', 'class 0 is ["n01440764", "tench", "fish"]'),
    "a wnid twice in JSON": ("a.json", '{"0": ["n01", "tench"], "1": ["n01", "carp"]}', "names 'n01' twice"),
    "label2id with another number": (
        "a.json",
        '{"id2label": {"0": "tench", "1": "crane"}, "label2id": {"tench": 1, "crane": 1}}',
        "id2label and label2id disagree about 'tench'",
    ),
    "label2id without a name": (
        "a.json",
        '{"id2label": {"0": "tench", "1": "crane"}, "label2id": {"tench": 0}}',
        "id2label and label2id disagree about 'crane'",
    ),
    "label2id with more names": (
        "a.json",
        '{"id2label": {"0": "tench"}, "label2id": {"tench": 0, "LABEL_1": 1}}',
        "id2label and label2id disagree about 'LABEL_1'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_another_form_is_one_line(what: str, tmp_path: Path) -> None:
    name, content, message = REFUSED[what]
    with pytest.raises(BadInput) as refused:
        read(tmp_path, content, name)
    assert message in str(refused.value) and "\n" not in str(refused.value) and len(str(refused.value)) < 600


def test_a_wnid_beside_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the line '3d printer' is no wnid with words, but others are"):
        read(tmp_path, "n02119789 kit fox\n3d printer\n", any_id=False)


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.txt: cannot be read \(No such file or directory\)"):
        read_names_file(tmp_path / "gone.txt", any_id=True)


def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    with file.open("wb") as opened:
        opened.truncate(MAX_NAMES + 1)
    with pytest.raises(BadInput, match=rf"words\.txt: has more than {MAX_NAMES} bytes; expected lines"):
        read_names_file(file, any_id=True)
