"""Class ids and their words, read from a names file and checked against the WordNet ids in the image file names."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.model.contract import Label

MAPPING = "LOC_synset_mapping.txt"  # Kaggle's; many keep it beside other layouts too
WNID = re.compile("n[0-9]{8}")  # a WordNet id


def find_names_file(root: Path, names: Path | None) -> Path | None:
    """Find the file of class names: the one that the user gave, else Kaggle's beside the data."""
    beside = root / MAPPING
    return names or (beside if beside.is_file() else None)


def read_names(file: Path) -> dict[str, str]:
    """Read lines "id words", as in LOC_synset_mapping.txt, into {id: words} in the file's order.

    Raises BadInput where a line is not of this form, and where wnids are not sorted. A label index is a position among
    the sorted wnids everywhere. A list in another order, such as the devkit's, would give every image a wrong class and
    no error.
    """
    pairs = [line.split(maxsplit=1) for line in read_lines(file)]
    short = next((pair for pair in pairs if len(pair) < 2), None)
    if short:
        raise BadInput(f"{file}: {short[0]!r} has no words after it", "expected lines of the form: id words")
    ids = [id for id, _ in pairs]
    twice = [id for id, count in Counter(ids).items() if count > 1]
    if twice:
        raise BadInput(f"{file}: names {twice[0]!r} twice", "remove one of the lines")
    if all(WNID.fullmatch(id) for id in ids):
        for before, after in pairwise(ids):
            if after < before:
                raise BadInput(
                    f"{file}: {after} comes after {before}, but labels are positions among the sorted wnids",
                    "sort the lines",
                )
    return {id: words.strip() for id, words in pairs}


def read_lines(file: Path) -> list[str]:
    """Read the lines of a text that are not blank. Raises BadInput."""
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read as text ({error})") from None


def read_labels_by_id(ids: Sequence[str], names: Path | None) -> tuple[Label, ...]:
    """Make the labels of classes that are known by their ids.

    Without a file of names the words are the id, with spaces for underscores. Raises BadInput where the file misses a
    class.
    """
    if names is None:
        return tuple(Label(id, id.replace("_", " ")) for id in ids)
    words = read_names(names)
    missing = [id for id in ids if id not in words]
    if missing:
        raise BadInput(f"{names}: no words for {missing[0]!r} ({len(missing)} of {len(ids)} classes are missing)")
    return tuple(Label(id, words[id]) for id in ids)


def read_labels_by_index(words: Sequence[str], names: Path | None) -> tuple[Label, ...]:
    """Make the labels of classes that are known by their numbers: class k has the k-th line of the file of names.

    `words` are the data set's own names, and the labels where there is no file. They may also be ids, all of which the
    file must hold, or empty. Raises BadInput where file and data set disagree.
    """
    if names is None:
        counts = Counter(words)
        return tuple(Label(word if counts[word] == 1 else f"{word} #{index}", word) for index, word in enumerate(words))
    table = read_names(names)
    if words and all(word in table for word in words):
        return tuple(Label(word, table[word]) for word in words)
    if words and len(table) != len(words):
        raise BadInput(
            f"{names}: names {len(table)} classes, the data has {len(words)}",
            "give one line per class, in the data's order",
        )
    shared = set(words) & set(table.values())
    for index, (word, name) in enumerate(zip(words, table.values(), strict=False)):
        if word != name and shared >= {word, name}:
            raise BadInput(
                f"{names}: class {index} is {name!r}, in the data it is {word!r}", "put the lines in the data's order"
            )
    return tuple(Label(id, name) for id, name in table.items())


def adopt_wnids(root: Path, labels: tuple[Label, ...], seen: Mapping[int, set[str]]) -> tuple[Label, ...]:
    """Compare classes with the wnids in their images' names; `seen` maps a label's index to its images' wnids.

    Where every class has exactly one wnid, different from the others, the wnids become the ids. Raises BadInput where a
    class has a wnid for its id, and its images are named after another one.
    """
    own = {label: next(iter(wnids)) for label, wnids in seen.items() if len(wnids) == 1}
    for index, wnid in sorted(own.items()):
        if WNID.fullmatch(labels[index].id) and labels[index].id != wnid:
            id = labels[index].id
            raise BadInput(
                f"{root}: label {index} is class {id}, but its images are named {wnid}",
                "check the order of the classes",
            )
    if len(own) == len(labels) == len(set(own.values())):
        return tuple(Label(own[index], label.name) for index, label in enumerate(labels))
    return labels
