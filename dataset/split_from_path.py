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
