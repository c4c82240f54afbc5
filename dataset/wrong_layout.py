"""Errors for what is no data set: each says what was found, and the nearest layout that can be read."""

from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Group, name_kind
from tencrop.images.file_name import SUFFIXES

ARCHIVES = frozenset([".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"])
LISTS = frozenset([".csv", ".txt", ".json", ".jsonl"])


def refuse_file(file: Path) -> BadInput:
    """The error for a file where the folder of a data set is expected."""
    return BadInput(f"{file}: is a file, and a data set is a folder", _advise_on_file(file))


def _advise_on_file(file: Path) -> str:
    if ".tar" in file.suffixes:
        return f"unpack it and name the folder, or name {file.parent} if it is a tar of WebDataset or ILSVRC-2012"
    if file.suffix.lower() in ARCHIVES:
        return "unpack it and name the folder"
    if file.suffix.lower() in LISTS:
        return f"name the folder of its images, with --list {file}"
    return f"name a folder: {file.parent}, or the one whose folders are the classes"


def refuse_folder(folder: Path) -> BadInput:
    """The error for a folder without class folders."""
    seen = Group()
    for path in folder.iterdir():
        seen.add(name_kind(f"{path.name}/" if path.is_dir() else path.name))
    what = f"holds no class folders, but {seen.format()}" if seen.count else "is empty"
    expected = f"expected {folder}/<class>/<image>"
    if not SUFFIXES.isdisjoint(seen.names):
        return BadInput(f"{folder}: {what}", f"{expected}, or the classes of the images in a file: --list FILE")
    if not ARCHIVES.isdisjoint(seen.names):
        return BadInput(f"{folder}: {what}", f"unpack what is packed: {expected}")
    return BadInput(f"{folder}: {what}", f"{expected}, ILSVRC's or WebDataset tars, or parquet files")


def refuse_class(folder: Path, seen: Group) -> BadInput:
    """The error for a class folder without an image; `seen` are the kinds of its files."""
    what = f"{folder}: a class without an image ({f'it holds {seen.format()}' if seen.count else 'it is empty'})"
    if not ARCHIVES.isdisjoint(seen.names):
        return BadInput(what, "unpack what is packed, or move the folder elsewhere")
    suffixes = " ".join(sorted(SUFFIXES))
    return BadInput(what, f"add some ({suffixes}), move it elsewhere, or name the folder whose folders are the classes")
