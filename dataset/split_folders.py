"""Finds the folders that hold a data set's class folders: train/ and val/ by any of their names, or DATA itself."""

from collections.abc import Mapping
from pathlib import Path

from tencrop.dataset.account import Inventory
from tencrop.dataset.split_from_path import (
    WORDS,
    Split,
    check_distinct,
    check_known,
    choose_held_split,
    find_word,
    remove_words,
)
from tencrop.dataset.walk import holds_images, list_subfolders


def find_tops(root: Path, inventory: Inventory) -> dict[Path, bool]:
    """Find the folders that hold class folders, and whether each is for validation.

    They are the folders of `root` where one of them is named after a split, holds folders and holds no image, or where
    all are named after splits and otherwise alike, as img_train and img_val are. Else only `root` holds class folders:
    a class may be called "test tube". The folders of other splits are noted as unread.

    Raises BadInput where a folder beside them is of no known split, and where two are of the same one.
    """
    words = {name: find_word(name) for name in list_subfolders(root)}
    deep = [name for name, word in words.items() if word and list_subfolders(root / name)]
    if not (_are_alike(words) or any(not holds_images(root / name) for name in deep)):
        return {root: False}
    check_known(root, {f"{name}/": word for name, word in words.items()})
    splits = {name: WORDS[word] for name, word in words.items() if word}
    held = choose_held_split(splits.values())
    named = [name for name, split in splits.items() if split in ("train", held)]
    wanted = [name for name in named if name in deep or splits[name] != "test"] or named
    check_distinct(root, {f"{name}/": splits[name] for name in wanted})
    for name in splits:
        if name not in wanted:
            inventory.note_unread(f"{name}/")
    return {root / name: splits[name] == held for name in wanted}


def list_split_folders(root: Path) -> list[tuple[Path, Split]]:
    """List the folders of `root` that are named after splits, and their splits."""
    words = {name: find_word(name) for name in list_subfolders(root)}
    return [(root / name, WORDS[word]) for name, word in words.items() if word]


def _are_alike(words: Mapping[str, str | None]) -> bool:
    """Return whether all names have a split word, and are equal without it."""
    return all(words.values()) and len({remove_words(name) for name in words}) == 1
