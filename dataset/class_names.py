"""Class ids and their words, read from a names file and checked against the WordNet ids in the image file names."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.names_file import WNID, NamesFile, make_ids, read_names_file
from tencrop.model.contract import Label

MAX_DIGITS = 9  # of a number that may be a label
BESIDE = ("LOC_synset_mapping.txt", "synset_words.txt")  # Kaggle's and Caffe's; many keep one beside other layouts


def find_names_file(root: Path, names: Path | None) -> Path | None:
    """Find the file of class names: the one that the user gave, else Kaggle's or Caffe's beside the data."""
    return names or next((root / name for name in BESIDE if (root / name).is_file()), None)


def read_names(file: Path) -> NamesFile:
    """Read a file of class names (dataset/names_file.py), the ids of a data set in its order.

    Raises BadInput where the file has another form, and where wnids are not sorted. A label index is a position among
    the sorted wnids everywhere. A list in another order, such as the devkit's, would give every image a wrong class and
    no error.
    """
    names = read_names_file(file, any_id=True)
    if all(WNID.fullmatch(label.id) for label in names.labels):
        for before, after in pairwise(names.labels):
            if after.id < before.id:
                raise BadInput(
                    f"{file}: {after.id} comes after {before.id}, but labels are positions among the sorted wnids",
                    "sort the lines",
                )
    return names


def read_labels_by_id(ids: Sequence[str], names: Path | None) -> tuple[Label, ...]:
    """Make the labels of classes that are known by their ids.

    Without a file of names the words are the id, with spaces for underscores. A file with ids may also hold the ids of
    the data as its names, and then its own ids count. A file without ids names either the ids themselves or, in their
    order, as many wnids as there are. Raises BadInput where the file misses a class.
    """
    if names is None:
        return tuple(Label(id, id.replace("_", " ")) for id in ids)
    file = read_names(names)
    table = file.make_table()
    missing = [id for id in ids if id not in table]
    if not missing:
        return tuple(Label(id, table[id]) for id in ids)
    found = _find_by_name(ids, file)
    if found:
        return found
    if not file.has_ids and len(file.labels) == len(ids) and all(WNID.fullmatch(id) for id in ids):
        return tuple(Label(id, label.name) for id, label in zip(ids, file.labels, strict=True))
    kind = "" if file.has_ids else "; it holds names without ids"
    raise BadInput(
        f"{names}: no words for {missing[0]!r} ({len(missing)} of {len(ids)} classes are missing{kind})",
        "add a line for each class of the data",
    )


def _find_by_name(names: Sequence[str], file: NamesFile) -> tuple[Label, ...]:
    """Find classes by their names in a file that has ids: the whole name or, of ImageNet's, what is before its comma.

    Empty where the file has no ids, and where it does not have each of these names once.
    """
    table: dict[str, set[Label]] = defaultdict(set)
    for label in file.labels if file.has_ids else ():
        for name in (label.name, label.name.partition(",")[0]):
            table[name.replace("_", " ")].add(label)
    found = [table.get(name.replace("_", " "), set()) for name in names]
    labels = tuple(label for labels in found if len(labels) == 1 for label in labels)
    return labels if len(set(labels)) == len(names) else ()


def read_labels_by_index(words: Sequence[str], names: Path | None) -> tuple[Label, ...]:
    """Make the labels of classes that are known by their numbers: class k is the k-th of the file of names.

    `words` are the data set's own names, and the labels where there is no file. They may also be ids, all of which the
    file must hold, or names of a part of its classes, or empty. Where the file has no ids they stay the ids. Raises
    BadInput where file and data set disagree.
    """
    if names is None:
        return make_ids(words)
    file = read_names(names)
    table = file.make_table()
    if words and all(word in table for word in words):
        return tuple(Label(word, table[word]) for word in words)
    found = _find_by_name(words, file)
    if found and len(file.labels) != len(words):
        return found
    if words and len(file.labels) != len(words):
        raise BadInput(
            f"{names}: names {len(file.labels)} classes, the data has {len(words)}",
            "give one name per class, in the data's order",
        )
    named = [label.name for label in file.labels]
    shared = set(words) & set(named)
    for index, (word, name) in enumerate(zip(words, named, strict=False)):
        if word != name and shared >= {word, name}:
            raise BadInput(
                f"{names}: class {index} is {name!r}, in the data it is {word!r}", "put the lines in the data's order"
            )
    if words and not file.has_ids:
        return tuple(Label(own.id, name) for own, name in zip(make_ids(words), named, strict=True))
    return file.labels


def are_numbers(texts: Collection[str]) -> bool:
    """Return whether all texts are whole numbers that may be labels."""
    return all(text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS for text in texts)


def read_labels_by_text(texts: Sequence[str], names: Path | None) -> tuple[tuple[Label, ...], dict[str, int]]:
    """Make the labels of classes that are known by different texts, and number the texts.

    The texts are ids in their order. Where there is a file of names, and all texts are whole numbers and not all of
    them are its ids, they are positions in the file instead. Raises BadInput where the file lacks one of them.
    """
    if not (texts and names and are_numbers(texts)) or set(texts) <= read_names(names).make_table().keys():
        return read_labels_by_id(texts, names), {text: index for index, text in enumerate(texts)}
    classes = read_labels_by_index((), names)
    last = max(map(int, texts))
    if last >= len(classes):
        raise BadInput(f"{names}: names {len(classes)} classes, but there is a label {last}", "count from 0")
    return classes, {text: int(text) for text in texts}


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
