"""NamesFile: the classes that a file lists, in each of the forms in which people have such files.

Lines "n01440764 tench, Tinca tinca" (Caffe's synset_words.txt, Kaggle's LOC_synset_mapping.txt), lines "id words", one
name a line (PyTorch's imagenet_classes.txt), Keras' imagenet_class_index.json, and a Hugging Face config.json.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.source import is_text
from tencrop.model.contract import Label

WNID = re.compile("n[0-9]{8}")  # a WordNet id
EXPECTED = (
    'expected lines "id words", one name a line, Keras\' imagenet_class_index.json, or a config.json with id2label'
)
MAX_NAMES = 16 << 20  # bytes; the 21,841 classes of ImageNet have 1 MB
MAX_KEYS = 3  # keys of a JSON object that a message shows


@dataclass(frozen=True)
class NamesFile:
    """The classes of a file, in its order. Where it holds no ids, the names stand for them (`make_ids`)."""

    labels: tuple[Label, ...]
    has_ids: bool

    def make_table(self) -> dict[str, str]:
        """The words of each class, by its id."""
        return {label.id: label.name for label in self.labels}


def read_names_file(path: Path, any_id: bool) -> NamesFile:
    """Read a file of class names.

    any_id: whether the first word of a line may be any id; else only a wnid is one, so "kit fox" is a name.
    Raises BadInput for a file in another form, and where two classes have one id.
    """
    lines = read_lines(path)
    if not lines:
        raise BadInput(f"{path}: is empty", EXPECTED)
    if path.suffix.lower() == ".json" or lines[0].startswith("{"):
        return _parse_json(path, "\n".join(lines))
    are_wnids = all(WNID.fullmatch(line) for line in lines)  # without words, so each stands for itself
    pairs = [[line, line] if are_wnids else line.split(maxsplit=1) for line in lines]
    odd = next((pair for pair in pairs if len(pair) < 2 or not _is_id(pair[0], any_id)), None)
    if odd is None:
        return _make_labels(path, pairs)
    if any(WNID.match(line) for line in lines):
        raise BadInput(f"{path}: the line {one_line(' '.join(odd))!r} is no wnid with words, but others are", EXPECTED)
    return NamesFile(make_ids(lines), has_ids=False)


def read_lines(file: Path) -> list[str]:
    """Read the lines of a text that are not blank. Raises BadInput."""
    try:
        if file.stat().st_size > MAX_NAMES:
            raise BadInput(f"{file}: has more than {MAX_NAMES} bytes", EXPECTED)
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: cannot be read as text ({error})", EXPECTED) from None


def make_ids(names: Sequence[str]) -> tuple[Label, ...]:
    """Label classes that have names alone: an id is the name, with the class's number where the name occurs twice."""
    counts = Counter(names)
    return tuple(Label(name if counts[name] == 1 else f"{name} #{index}", name) for index, name in enumerate(names))


def _is_id(word: str, any_id: bool) -> bool:
    return bool(WNID.fullmatch(word)) or (any_id and not WNID.match(word))


def _make_labels(path: Path, pairs: Sequence[Sequence[str]]) -> NamesFile:
    """Label classes by pairs of id and words. Raises BadInput where an id occurs twice."""
    id, count = Counter(id for id, _ in pairs).most_common(1)[0]
    if count > 1:
        raise BadInput(f"{path}: names {id!r} twice", "give each class one id")
    return NamesFile(tuple(Label(id, words.strip()) for id, words in pairs), has_ids=True)


def _parse_json(path: Path, text: str) -> NamesFile:
    """Parse {"0": ["n01440764", "tench"], ...}, or {"0": "tench", ...} alone or as id2label. Raises BadInput."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: is not JSON ({one_line(error)})", EXPECTED) from None
    classes = _list_classes(path, document)
    if all(_is_pair(value) for value in classes):
        return _make_labels(path, [(id, name.replace("_", " ")) for id, name in classes])
    odd = next((index for index, value in enumerate(classes) if not _is_name(value)), None)
    if odd is not None:
        seen = one_line(json.dumps(classes[odd]))
        raise BadInput(f"{path}: class {odd} is {seen}, neither a name nor a pair of id and name", EXPECTED)
    _check_label2id(path, classes, document.get("label2id"))
    return NamesFile(make_ids(classes), has_ids=False)


def _list_classes(path: Path, document: Any) -> list[Any]:
    """The values of the table of numbers, in the order of the numbers. Raises BadInput unless they run from 0."""
    table = document.get("id2label", document) if isinstance(document, dict) else document
    if not isinstance(table, dict) or not table or not all(key.isdecimal() for key in table):
        raise BadInput(f"{path}: is {_describe(document)}", EXPECTED)
    numbers = [str(index) for index in range(len(table))]
    missing = next((number for number in numbers if number not in table), None)
    if missing:
        raise BadInput(f"{path}: has {len(table)} classes, but no class {missing}", "number the classes from 0")
    return [table[number] for number in numbers]


def _describe(document: Any) -> str:
    """A JSON value in words."""
    if not isinstance(document, dict):
        return f"a JSON {'list' if isinstance(document, list) else 'value'} and no object"
    keys = ", ".join(repr(one_line(key)) for key in list(document)[:MAX_KEYS])
    return f"a JSON object without id2label (it has {keys or 'no keys'})"


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_name, value))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and is_text(value)


def _check_label2id(path: Path, names: Sequence[str], label2id: Any) -> None:
    """Compare label2id with id2label's names. It holds one number of a name that occurs twice. Raises BadInput."""
    pairs = {(name, str(index)) for index, name in enumerate(names)}
    for name in sorted({*names, *label2id}) if isinstance(label2id, dict) else ():
        if (name, str(label2id.get(name))) not in pairs:
            raise BadInput(f"{path}: id2label and label2id disagree about {one_line(name)!r}", "correct one of them")
