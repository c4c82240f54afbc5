"""WebDataset layout: tars of samples, each key.jpg with key.cls (its label's number) or key.json (with a "label")."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.account import WITHOUT_LABEL, WITHOUT_PAIR, Inventory
from tencrop.dataset.byte_range import read_at
from tencrop.dataset.class_names import adopt_wnids, find_names_file, read_labels_by_index
from tencrop.dataset.names_file import WNID, make_ids, read_lines
from tencrop.dataset.source import SUFFIXES, Entries, Entry, ProgressCallback
from tencrop.dataset.split_from_path import WORDS, Split, choose_held_split, choose_inventories, infer_splits
from tencrop.dataset.tar import Member, Tars, iter_members
from tencrop.dataset.walk import list_subfolders
from tencrop.model.contract import Label

CLASSES = ("classes.txt", "classnames.txt")  # one name a line, beside the tars
LABELS = ("cls", "json")  # a sample's label is in the first of these that it has
MAX_LABEL = 1 << 20  # bytes that are read of a file with a label


def open_webdataset(
    root: Path,
    tars: list[str],
    names: Path | None,
    progress: ProgressCallback,
    training: bool = True,
) -> Tars:
    """List the images of `tars`, paths below `root`. An image's id is <tar>/<key>.<suffix>.

    Without `training` the images of the training tars are left out where there are other tars. Raises BadInput where a
    sample has no label or no image, NoImages where there is none.
    """
    inventory = Inventory()
    splits = infer_splits(root, tars)
    held = choose_held_split(splits.values())
    wanted = choose_inventories(splits, training, inventory)
    files = tuple(root / path for path in wanted)
    labels = _read_labels(root, names)
    seen: dict[int, set[str]] = defaultdict(set)

    def iter_entries() -> Iterator[Entry]:
        for place, (path, counted) in enumerate(wanted.items()):
            for entry in _iter_samples(root, path, place, splits[path], splits[path] == held, counted):
                if entry.label >= len(labels):
                    raise BadInput(
                        f"{root}: {entry.id} has label {entry.label}, but only {len(labels)} classes are named"
                    )
                wnids = WNID.findall(entry.id.rpartition("/")[2])
                seen[entry.label].update(wnids[-1:])
                if counted is inventory:
                    yield entry

    entries = Entries.collect(root, iter_entries(), progress)
    return Tars(root, adopt_wnids(root, labels, seen), entries, files, inventory)


def find_webdataset_tars(root: Path) -> list[str]:
    """List the paths below `root` of the *.tar in it, and in its folders, sorted.

    The folders are searched only where all of them are named after splits and hold no folders.
    """
    folders = list_subfolders(root)
    splits = all(name.lower() in WORDS and not list_subfolders(root / name) for name in folders)
    places = [root, *(root / name for name in folders if splits)]
    return sorted(path.relative_to(root).as_posix() for place in places for path in place.glob("[!.]*.tar"))


def _read_labels(root: Path, names: Path | None) -> tuple[Label, ...]:
    """Read the class names from the file of names, else from classes.txt."""
    names = find_names_file(root, names)
    if names:
        return read_labels_by_index((), names)
    beside = next((root / name for name in CLASSES if (root / name).is_file()), None)
    if beside is None:
        raise BadInput(
            f"{root}: its labels are numbers, and no file names the classes",
            f"give the class names in a file, or one per line in {root / CLASSES[0]}",
        )
    return make_ids(read_lines(beside))


def _iter_samples(root: Path, path: str, place: int, split: Split, held: bool, inventory: Inventory) -> Iterator[Entry]:
    """List the images of one tar. In a test split, samples without a label are left out."""
    file = root / path
    samples: dict[str, dict[str, Member]] = defaultdict(dict)  # one tar's samples fit in memory
    for member in iter_members(file, inventory):
        folder, slash, base = member.name.rpartition("/")
        stem, _, extension = base.partition(".")
        if extension.lower() in samples[folder + slash + stem]:
            raise BadInput(f"{file}: holds {member.name} twice", "write the tar again")
        samples[folder + slash + stem][extension.lower()] = member
    inventory.see(len(samples))
    for key, parts in samples.items():
        image = next((part for extension, part in parts.items() if f".{extension}" in SUFFIXES), None)
        label = next((parts[kind] for kind in LABELS if kind in parts), None)
        if label is None and (split == "test" or image is None):
            inventory.leave_out(WITHOUT_PAIR if image is None else WITHOUT_LABEL, f"{path}/{key}")
            continue
        if label is None or image is None:
            missing = "image" if label else "label (.cls or .json)"
            raise BadInput(f"{file}: sample {key!r} has no {missing}", "write the tar again")
        yield Entry(f"{path}/{image.name}", _read_label(file, label), held, (place, image.start, image.size))


def _read_label(file: Path, member: Member) -> int:
    """Read the label of a sample, a whole number from 0 up. Raises BadInput."""
    try:
        text = read_at(file, member.start, min(member.size, MAX_LABEL)).decode()
        label = json.loads(text)["label"] if member.name.endswith("json") else int(text)
        if isinstance(label, int) and 0 <= label < 1 << 31:
            return label
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        pass
    raise BadInput(f"{file}: {member.name} holds no label", "expected a whole number from 0 up")
