"""Infers a file's split from its name or a folder above it: train-00000-of-00014.parquet, val/ant/1.jpg."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory

Split = Literal["train", "validation", "test"]

WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
}
LETTERS = re.compile(r"[^\W\d_]+")
MAX_RUNS = 2  # runs of letters between separators, as in cifar10test; what has more is a hash


def find_word(name: str) -> str | None:
    """Find the split word in the name of a file or folder, between separators and digits: val in ILSVRC2012_img_val.

    None where there is none, and where the words are of different splits.
    """
    tokens = [LETTERS.findall(token) for token in re.split(r"[\W_]+", name.lower())]
    words = [run for runs in tokens if len(runs) <= MAX_RUNS for run in runs if run in WORDS]
    return words[0] if len({WORDS[word] for word in words}) == 1 else None


def remove_words(name: str) -> str:
    """Remove the split words, the digits and the separators from a name: ilsvrc img of ILSVRC2012_img_val."""
    return " ".join(run for run in LETTERS.findall(name.lower()) if run not in WORDS)


def infer_splits(root: Path, paths: Iterable[str]) -> dict[str, Split]:
    """Infer the split of each file below `root` from the word in its name, else in the folder nearest to it.

    Where no file has a word, all are for training. Raises BadInput where only some files have a word, and where two
    words mean the same split.
    """
    words = {path: next(filter(None, map(find_word, reversed(path.split("/")))), None) for path in sorted(paths)}
    check_known(root, words)
    firsts = {word: path for path, word in reversed(words.items()) if word}
    check_distinct(root, {path: WORDS[word] for word, path in sorted(firsts.items())})
    return {path: WORDS[word] if word else "train" for path, word in words.items()}


def check_known(root: Path, words: Mapping[str, str | None]) -> None:
    """Raise BadInput where some of these files or folders have a split word and others have none."""
    known = next((path for path, word in words.items() if word), None)
    unknown = next((path for path, word in words.items() if not word), None)
    if known and unknown:
        raise BadInput(
            f"{root}: {known} is named after a split, and {unknown} beside it after none that is known",
            f"move {unknown} elsewhere, or rename it; the words of splits are {', '.join(WORDS)}",
        )


def check_distinct(root: Path, splits: Mapping[str, Split]) -> None:
    """Raise BadInput where two of these files or folders are of the same split."""
    found: dict[Split, str] = {}
    for path, split in splits.items():
        if found.setdefault(split, path) != path:
            raise BadInput(f"{root}: {found[split]} and {path} are both for {split}", "move one of them elsewhere")


def choose_inventories(splits: Mapping[str, Split], training: bool, inventory: Inventory) -> dict[str, Inventory]:
    """Choose the files to list, for training and for validation, and for each the inventory that counts its images.

    Without `training` the training files have one of their own where there are others: they are listed for their
    classes alone. They and the files of other splits are noted as unread.
    """
    held = choose_held_split(splits.values())
    alone = not training and held in splits.values()
    chosen = {file: split for file, split in splits.items() if split in ("train", held)}
    for file, split in splits.items():
        if file not in chosen or (alone and split != held):
            inventory.note_unread(file)
    return {file: Inventory() if alone and split != held else inventory for file, split in chosen.items()}


def choose_held_split(splits: Collection[Split | None]) -> Split:
    """Choose the split for validation: validation, or test in a data set that has no validation split."""
    return "validation" if "validation" in splits else "test"
