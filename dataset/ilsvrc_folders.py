"""An unpacked ILSVRC challenge: train/<wnid>/, and a flat val/ whose classes a file beside it names.

The file is Kaggle's LOC_val_solution.csv, the devkit's ground truth, or a list such as Caffe's val.txt. In Kaggle's
download the folders lie in ILSVRC/Data/CLS-LOC.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.account import Inventory
from tencrop.dataset.class_names import are_numbers, find_names_file, read_labels_by_id, read_names
from tencrop.dataset.devkit import find_devkit, read_devkit
from tencrop.dataset.folder import Folder, list_class_images
from tencrop.dataset.ilsvrc import CHALLENGES, Challenge, HeldTar
from tencrop.dataset.label_list import read_labels
from tencrop.dataset.list_file import open_list, open_text
from tencrop.dataset.source import Entries, Entry, ProgressCallback
from tencrop.dataset.split_folders import list_split_folders
from tencrop.dataset.walk import list_subfolders
from tencrop.model.contract import Label

KAGGLE, SOLUTION = "ILSVRC/Data/CLS-LOC", "LOC_val_solution.csv"
NUMBERED = re.compile(r"(ILSVRC\d{4}_[a-z]+_)\d{8}\.JPEG")
KINDS = {f"{challenge.name}_{tar.part}_": (challenge, tar) for challenge in CHALLENGES for tar in challenge.held}


class Unpacked(NamedTuple):
    """The folders of an unpacked challenge."""

    challenge: Challenge
    tar: HeldTar  # of the images in `held`
    train: Path | None
    held: Path | None
    others: Sequence[Path]

    def list_folders(self, root: Path) -> list[str]:
        """List the paths of the folders below `root`."""
        folders = (self.train, self.held, *self.others)
        return [folder.relative_to(root).as_posix() for folder in folders if folder]


class Truth(NamedTuple):
    """The classes of the images for validation."""

    file: Path
    wnids: Mapping[str, str]  # by the stem of the image's name
    labels: Sequence[Label] = ()  # all classes, where a devkit tells them


def find_unpacked(root: Path) -> Unpacked | None:
    """Find a flat folder of numbered images for validation, and train/ beside it; or Kaggle's folders."""
    kaggle = (root / KAGGLE).is_dir()
    folders = list_split_folders(root / KAGGLE if kaggle else root)
    train = next((path for path, split in folders if split == "train"), None)
    if kaggle:
        kind, held = next(iter(KINDS)), next((path for path, split in folders if split == "validation"), None)
    else:
        found = {_find_kind(path): path for path, split in folders if split != "train"}
        kind = next((kind for kind in KINDS if kind in found), "")
        held = found.get(kind)
    if not kind:
        return None
    return Unpacked(*KINDS[kind], train, held, [path for path, _ in folders if path not in (train, held)])


def _find_kind(folder: Path) -> str:
    """The name of the images that lie in a folder, without its number; empty where there are none, or folders."""
    found = () if list_subfolders(folder) else (NUMBERED.fullmatch(path.name) for path in folder.iterdir())
    return next((match[1] for match in found if match), "")


def open_unpacked(
    root: Path, folders: Unpacked, names: Path | None, progress: ProgressCallback, training: bool = True
) -> Folder:
    """List train/<wnid>/ and val/.

    Without `training` train/ is left out where there is val/. Raises BadInput where no file names the classes of the
    validation images, where it does not fit them, and where nothing names the classes.
    """
    inventory = Inventory()
    names = find_names_file(root, names)
    classes = list_subfolders(folders.train) if folders.train else []
    if folders.train and not classes:
        raise BadInput(f"{folders.train}: no class folders", "unpack the tar of each class to a folder of its own")
    truth = _read_truth(root, folders, folders.held, classes, names) if folders.held else None
    labels = _read_labels(folders, classes, truth, names)
    index = {label.id: number for number, label in enumerate(labels)}

    def iter_entries() -> Iterator[Entry]:
        if folders.train and (training or not folders.held):
            for wnid in classes:
                images = list_class_images(root, folders.train / wnid, inventory)
                yield from (Entry(id, index[wnid], False) for id in images)
        if folders.held and truth:
            yield from _iter_validation(root, folders.held, truth, index, inventory)

    for path in folders.others:
        inventory.note_unread(f"{path.name}/")
    if folders.train and folders.held and not training:
        inventory.note_unread(f"{folders.train.name}/")
    return Folder(root, labels, Entries.collect(root, iter_entries(), progress), inventory)


def _read_labels(
    folders: Unpacked, classes: Sequence[str], truth: Truth | None, names: Path | None
) -> tuple[Label, ...]:
    """Make the labels of the class folders, else of all classes that the devkit or the file of names tells."""
    told = truth.labels if truth else ()
    ids = classes or [label.id for label in told] or ([label.id for label in read_names(names).labels] if names else [])
    if not ids:
        raise BadInput(
            f"{folders.held}: no class folders are beside it",
            "unpack the training images, or give the class names with --labels FILE",
        )
    words = {} if names else {label.id: label for label in told}
    return tuple(words.get(label.id, label) for label in read_labels_by_id(ids, names))


def _read_truth(root: Path, folders: Unpacked, held: Path, classes: Sequence[str], names: Path | None) -> Truth:
    """Read the classes of the images in `held`. Raises BadInput where no file names them."""
    stem, listed = f"{folders.challenge.name}_{folders.tar.part}_", root / f"{folders.tar.part}.txt"
    if (root / SOLUTION).is_file():
        return Truth(root / SOLUTION, _read_solution(root / SOLUTION))
    file = find_devkit(root, folders.challenge.devkits)
    if file:
        devkit = read_devkit(file, folders.challenge.name)
        numbered = enumerate(devkit.read_truth(root, folders.tar.truth), 1)
        return Truth(file, {f"{stem}{n:08d}": devkit.labels[label].id for n, label in numbered}, devkit.labels)
    if listed.is_file():
        labels = read_labels(root, replace(open_list(root, listed), top=held, base=held), Inventory())
        ids = _name_numbers(listed, set(labels.values()), classes, names)
        return Truth(listed, {Path(path).stem: ids.get(label, label) for path, label in labels.items()})
    raise BadInput(
        f"{held}: holds {stem}00000001.JPEG and the like, and no file beside it names their classes",
        f"put {folders.challenge.devkits[0]}, {SOLUTION} or {listed.name} (with --labels) into {root}",
    )


def _name_numbers(file: Path, labels: set[str], classes: Sequence[str], names: Path | None) -> dict[str, str]:
    """Find the ids of labels that are positions in the file of names, or without one among all the class folders."""
    if not (labels and are_numbers(labels)):
        return {}
    file_of_names = read_names(names) if names else None
    known = [label.id for label in file_of_names.labels] if file_of_names else []
    ids = known if file_of_names and (file_of_names.has_ids or not classes) else list(classes)
    count = max(map(int, labels)) + 1
    if count > len(ids) or (ids != known and count != len(ids)):
        raise BadInput(
            f"{file}: its labels go up to {count - 1}, and {len(ids)} classes are known",
            "give the class names, counted from 0, with --labels FILE",
        )
    return {label: ids[int(label)] for label in labels}


def _read_solution(file: Path) -> dict[str, str]:
    """Read lines "ILSVRC2012_val_00048981,n03995372 85 1 499 272" into {image: wnid}, without the boxes.

    Raises BadInput where the csv has another form.
    """
    with open_text(file) as lines:
        try:
            return {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(lines)}
        except (LookupError, AttributeError) as error:
            raise BadInput(f"{file}: expected the columns ImageId and PredictionString ({one_line(error)})") from None


def _iter_validation(
    root: Path, held: Path, truth: Truth, index: Mapping[str, int], inventory: Inventory
) -> Iterator[Entry]:
    """List the flat folder. Raises BadInput where it and the file of its classes are not of the same images."""
    ids = list_class_images(root, held, inventory)
    stems = {Path(id).stem for id in ids}
    if stems != truth.wnids.keys():
        odd = sorted(stems ^ truth.wnids.keys())[0]
        raise BadInput(
            f"{truth.file}: lists {len(truth.wnids)} images, {held} holds {len(ids)}, "
            f"and {odd} is in only one of the two",
            "give a list of those that there are by --list",
        )
    unknown = sorted(set(truth.wnids.values()) - index.keys())
    if unknown:
        raise BadInput(f"{truth.file}: {unknown[0]!r} is none of the {len(index)} classes")
    for id in ids:
        yield Entry(id, index[truth.wnids[Path(id).stem]], True)
