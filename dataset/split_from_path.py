"""Which split a file belongs to, by its name or that of a folder above it: train-00000-of-00014.parquet, val/ant/1.jpg."""

import re
from collections.abc import Collection
from typing import Literal

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
    """The first word of a name that says so counts, the file's own name before the folders'; others are for training."""
    for part in reversed(path.split("/")):
        for word in re.findall("[a-z]+", part.lower()):
            if word in WORDS:
                return WORDS[word]
    return "train"


def choose_held_split(splits: Collection[Split | None]) -> Split:
    """The split that is validated on: validation, or test in a data set that has no other."""
    return "validation" if "validation" in splits else "test"
