"""Where labelled images come from: folder per class -> (id, bytes, label)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from model.contract import Label
from model.errors import BadInput

SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"])


class Entry(NamedTuple):
    """One image: `id` is its path within the data set, `label` the index of its class."""

    id: str
    label: int


@dataclass(frozen=True)
class Folder:
    """DATA/<class>/.../<image>: classes sorted by folder name, images by path."""

    root: Path
    labels: tuple[Label, ...]
    entries: Sequence[Entry]

    def read(self, entry: Entry) -> bytes:
        """The file as it lies there. Raises OSError where it is gone."""
        return (self.root / entry.id).read_bytes()


def open_folder(root: Path, names: Path | None = None) -> Folder:
    """List a folder of class folders; `names` is a file of lines "id words" that tells the classes' words.

    Raises BadInput where there is no class folder, where a class has no image, or where `names` misses a class.
    """
    if not root.is_dir():
        raise BadInput(f"{root}: no such folder; give a folder that holds one folder of images per class")
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise BadInput(f"{root}: holds no class folders; expected {root}/<class>/<image>")
    words = read_names(names) if names else {name: name.replace("_", " ") for name in classes}
    missing = [name for name in classes if name not in words]
    if missing:
        raise BadInput(f"{names}: no words for {missing[0]!r} ({len(missing)} of {len(classes)} classes are missing)")
    entries: list[Entry] = []
    for index, name in enumerate(classes):
        found = [Entry(path.relative_to(root).as_posix(), index) for path in sorted((root / name).rglob("*")) if _is_image(path)]
        if not found:
            raise BadInput(f"{root / name}: a class without an image; add some or remove the folder")
        unwritable = next((entry.id for entry in found if not _is_text(entry.id)), None)
        if unwritable:
            raise BadInput(f"{root}: the name {unwritable!a} is not UTF-8 text; rename it")
        entries += found
    return Folder(root, tuple(Label(name, words[name]) for name in classes), entries)


def read_names(file: Path) -> dict[str, str]:
    """Lines "id words" (as Kaggle's LOC_synset_mapping.txt) -> {id: words}. Raises BadInput."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read as text ({error})") from None
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    short = next((pair for pair in pairs if len(pair) < 2), None)
    if short:
        raise BadInput(f"{file}: {short[0]!r} has no words behind it; expected lines of the form: id words")
    return {id: words.strip() for id, words in pairs}


def _is_text(name: str) -> bool:
    """Whether it can be written down; a file name on Linux may be any bytes."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
