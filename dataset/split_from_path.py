"""Infers a file's split from its name or a folder above it: train-00000-of-00014.parquet, val/ant/1.jpg."""

import re
from collections.abc import Collection, Mapping
from typing import Literal

from tencrop.dataset.account import Inventory

Split = Literal["train", "validation", "test"]

WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def infer_split(path: str) -> Split:
    """Infer the split from the first word that names one, in the file's name, then in its folders'; else train."""
    for part in reversed(path.split("/")):
        for word in re.findall("[a-z]+", part.lower()):
            if word in WORDS:
                return WORDS[word]
    return "train"


def choose_files(splits: Mapping[str, Split], training: bool, inventory: Inventory) -> list[str]:
    """Choose the files to list, given each one's split: those for validation and, if wanted, those for training.

    Without `training` the training files are chosen where there are no others. The rest is noted as unread.
    """
    held = choose_held_split(splits.values())
    alone = not training and held in splits.values()
    chosen = [file for file, split in splits.items() if split == held or (split == "train" and not alone)]
    for file in splits.keys() - set(chosen):
        inventory.note_unread(file)
    return chosen


def choose_held_split(splits: Collection[Split | None]) -> Split:
    """Choose the split for validation: validation, or test in a data set that has no validation split."""
    return "validation" if "validation" in splits else "test"
