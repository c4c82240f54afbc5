"""Infers a file's split from its name or a folder above it: train-00000-of-00014.parquet, val/ant/1.jpg."""

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
    """Infer the split from the first word that names one, in the file's name, then in its folders'; else train."""
    for part in reversed(path.split("/")):
        for word in re.findall("[a-z]+", part.lower()):
            if word in WORDS:
                return WORDS[word]
    return "train"


def choose_held_split(splits: Collection[Split | None]) -> Split:
    """Choose the split for validation: validation, or test in a data set that has no validation split."""
    return "validation" if "validation" in splits else "test"
