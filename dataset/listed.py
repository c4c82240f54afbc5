"""Images in files of their own whose classes a file lists: `--list`, the Hub's metadata.csv, FiftyOne's labels.json."""

import glob
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.account import PASSED_OVER, WITHOUT_LABEL, Inventory, name_kind
from tencrop.dataset.class_names import adopt_wnids, are_numbers, find_names_file, read_labels_by_text
from tencrop.dataset.folder import Folder
from tencrop.dataset.label_list import LabelList, read_labels
from tencrop.dataset.names_file import WNID
from tencrop.dataset.source import Entries, Entry, ProgressCallback
from tencrop.dataset.split_folders import list_split_folders
from tencrop.dataset.split_from_path import WORDS, Split, check_distinct, check_known, choose_held_split, find_word
from tencrop.dataset.walk import check_link, is_broken_link, list_subfolders, walk
from tencrop.images.errors import ImageMissing
from tencrop.images.file_name import is_image


@dataclass(frozen=True)
class ListedFolder(Folder):
    """A folder of which a list names the images. Some of them may be missing."""

    missing: frozenset[str]  # ids

    def read(self, entry: Entry) -> bytes:
        """Read the image file. Raises ImageMissing where it was missing when listed, else as Folder's."""
        if entry.id in self.missing:
            raise ImageMissing("named by the list, but not there")
        return super().read(entry)


@dataclass(frozen=True)
class _Part:
    """The images of one split that a list names."""

    source: LabelList
    top: Path  # the folder that is looked through
    split: Split | None
    labels: dict[str, str]  # by path below the root; empty where an image has none


def open_listed(
    root: Path, lists: Sequence[LabelList], names: Path | None, progress: ProgressCallback, training: bool = True
) -> ListedFolder:
    """List the images that the lists name, sorted by path; the others in their folders have no label.

    Labels are positions in the file of names where there is one and all labels are whole numbers that are no ids of it,
    else ids. Without `training` training images are left out where there are validation images too. Raises BadInput
    where a path leads out of the root, an image has two labels, a label is unknown, or no image is there.
    """
    inventory = Inventory()
    _check_splits(root, lists)
    parts = [part for one in lists for part in _split(root, one, read_labels(root, one, inventory))]
    held = choose_held_split([part.split for part in parts])
    used = [part for part in parts if part.split in (None, "train", held)]
    check_distinct(root, {f"{part.top.name}/": part.split for part in used if part.split})
    alone = not training and any(part.split == held for part in parts)
    names = find_names_file(root, names)
    texts = {label for part in used for label in part.labels.values() if label}
    if not texts:
        raise BadInput(f"{lists[0].file}: labels no image", "write a row with path and label for each")
    labels, index = read_labels_by_text(sorted(texts, key=int if are_numbers(texts) else None), names)
    own = {names, *(one.file for one in lists)}
    missing = set[str]()
    wnids: dict[int, set[str]] = defaultdict(set)

    def iter_entries() -> Iterator[Entry]:
        _count_beside(root, [part.top for part in used], own, inventory)
        for part in used:
            if alone and part.split != held:
                inventory.note_unread(f"{part.top.name}/")
                continue
            files = _match_files(root, part, own, inventory)
            for path, label in sorted(part.labels.items()):
                if not label:
                    inventory.leave_out(WITHOUT_LABEL, path)
                    continue
                if path not in files:
                    missing.add(path)
                wnids[index[label]].update(WNID.findall(path.rpartition("/")[2])[-1:])
                yield Entry(files.get(path, path), index[label], part.split == held)

    entries = Entries.collect(root, iter_entries(), progress)
    if len(missing) == len(entries):
        raise _explain_missing(lists[0], sorted(missing))
    return ListedFolder(root, adopt_wnids(root, labels, wnids), entries, inventory, frozenset(missing))


def _check_splits(root: Path, lists: Sequence[LabelList]) -> None:
    """Raise BadInput where folders of splits have a list each, but one for training or validation has none."""
    listed = {one.top for one in lists if one.split}
    for folder, split in list_split_folders(root) if listed else ():
        if folder not in listed and split != "test":
            name = lists[0].file.name
            raise BadInput(f"{folder}: holds no {name}, as {lists[0].top} does", "add it, or move the folder elsewhere")


def _split(root: Path, source: LabelList, labels: dict[str, str]) -> list[_Part]:
    """Split the images of a list by the folders with which all paths begin, where these are there, named after splits.

    Raises BadInput where some of them are named after several splits, and others after none.
    """
    tops = {path.partition("/")[0] if "/" in path else "" for path in labels}
    words = {top: find_word(top) for top in sorted(tops)}
    splits = {top: WORDS[word] for top, word in words.items() if word}
    if len(set(splits.values())) > 1:
        check_known(root, {f"{top}/": word for top, word in words.items()})
    if source.top != root or splits.keys() != tops or not any((root / top).is_dir() for top in tops):
        return [_Part(source, source.top, source.split, labels)]
    grouped: dict[str, dict[str, str]] = {top: {} for top in splits}
    for path, label in labels.items():
        grouped[path.partition("/")[0]][path] = label
    return [_Part(source, root / top, split, grouped[top]) for top, split in splits.items()]


def _count_beside(root: Path, tops: Sequence[Path], own: set[Path | None], inventory: Inventory) -> None:
    """Count what lies in the root beside the folders `tops`."""
    for path in () if root in tops else sorted(root.iterdir()):
        if path in tops or path in own:
            continue
        check_link(root, path.name)
        if path.is_dir() and find_word(path.name):
            inventory.note_unread(f"{path.name}/")
        elif is_image(path.name) and not path.is_dir():
            inventory.see()
            inventory.leave_out(WITHOUT_LABEL, path.name)
        else:
            inventory.pass_over(f"{path.name}/" if path.is_dir() else path.name)


def _match_files(root: Path, part: _Part, own: set[Path | None], inventory: Inventory) -> dict[str, str]:
    """Find the files of the listed images, {path in the list: path of the file}, and count all that were seen.

    A path in the list may lack its file's suffix. Raises BadInput where two files match.
    """
    found: dict[str, str] = {}
    for place, files in walk(part.top, inventory):
        inside = "" if place == root else f"{place.relative_to(root).as_posix()}/"
        for name in sorted(files):
            path = inside + name
            stem = path.rpartition(".")[0] if is_image(name) else path
            listed = next((key for key in (path, stem) if key in part.labels), None)
            if place / name in own:
                inventory.see(-1)  # read, and no image
            elif listed is None or not (os.path.isfile(place / name) or is_broken_link(place / name)):
                inventory.leave_out(*(WITHOUT_LABEL, path) if is_image(name) else (PASSED_OVER, name_kind(name)))
            elif listed in found:
                raise BadInput(
                    f"{part.source.file}: names {listed!r}, which may be {found[listed]} or {path}", "name the file"
                )
            else:
                found[listed] = path
    for path in part.labels.keys() - found.keys():  # missing, or in a hidden folder, or behind a second link
        inventory.see()
        if os.path.isfile(root / path):
            found[path] = path
    return found


def _explain_missing(source: LabelList, missing: Sequence[str]) -> BadInput:
    """The error for a list of which no image is there."""
    first = missing[0]
    places = [source.base.parent, *(source.base / name for name in list_subfolders(source.base))]
    near = next((place for place in places if any(place.glob(f"{glob.escape(first)}*"))), None)
    advice = f"{near} has it: name that folder" if near else "name the folder that its paths start from"
    return BadInput(f"{source.file}: names {len(missing)} images, none of which is there, such as {first!r}", advice)
