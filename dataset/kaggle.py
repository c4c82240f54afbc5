"""Layout of Kaggle's imagenet-object-localization-challenge: images in ILSVRC/Data/CLS-LOC, a csv for val/."""

import csv
from collections.abc import Iterator
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.dataset.class_names import find_names_file, read_labels_by_id, read_names
from tencrop.dataset.folder import Folder, list_class_images
from tencrop.dataset.source import Entries, Entry, ProgressCallback
from tencrop.dataset.walk import list_subfolders

IMAGES, SOLUTION = "ILSVRC/Data/CLS-LOC", "LOC_val_solution.csv"


def open_kaggle(root: Path, names: Path | None, progress: ProgressCallback, training: bool = True) -> Folder:
    """List train/<wnid>/ and val/.

    Without `training` train/ is left out where there is val/. Raises BadInput where the csv does not fit the validation
    images, and where nothing names the classes.
    """
    inventory = Inventory()
    train, held = root / IMAGES / "train", root / IMAGES / "val"
    names = find_names_file(root, names)
    classes: list[str] = []
    if train.is_dir():
        classes = list_subfolders(train)
    elif names:
        classes = sorted(read_names(names).make_table())
    if not classes:
        raise BadInput(f"{train}: no class folders", "unpack the training images, or give the class names in a file")
    index = {wnid: label for label, wnid in enumerate(classes)}

    def iter_entries() -> Iterator[Entry]:
        if train.is_dir() and (training or not held.is_dir()):
            for wnid in classes:
                yield from (Entry(id, index[wnid], False) for id in list_class_images(root, train / wnid, inventory))
        if held.is_dir():
            yield from _iter_validation(root, held, index, inventory)

    for unread in (train, root / IMAGES / "test"):
        if unread.is_dir() and held.is_dir() and not (training and unread == train):
            inventory.note_unread(f"{unread.name}/")
    entries = Entries.collect(root, iter_entries(), progress)
    return Folder(root, read_labels_by_id(classes, names), entries, inventory)


def _iter_validation(root: Path, held: Path, index: dict[str, int], inventory: Inventory) -> Iterator[Entry]:
    """List val/*.JPEG, each with a line in the csv."""
    file = root / SOLUTION
    wnids = _read_solution(file)
    ids = list_class_images(root, held, inventory)
    stems = {Path(id).stem for id in ids}
    if stems != wnids.keys():
        odd = sorted(stems ^ wnids.keys())[0]
        raise BadInput(
            f"{file}: lists {len(wnids)} images, {held} holds {len(ids)}, and {odd} is in only one of the two"
        )
    unknown = sorted(set(wnids.values()) - index.keys())
    if unknown:
        raise BadInput(f"{file}: {unknown[0]!r} is none of the {len(index)} classes of {root / IMAGES / 'train'}")
    for id in ids:
        yield Entry(id, index[wnids[Path(id).stem]], True)


def _read_solution(file: Path) -> dict[str, str]:
    """Read lines "ILSVRC2012_val_00048981,n03995372 85 1 499 272" into {image: wnid}, without the boxes.

    Raises BadInput where the csv is missing or has another form.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(lines)}
    except FileNotFoundError:
        raise BadInput(f"{file}: missing", "it holds the classes of the validation images: put it there") from None
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, IndexError, AttributeError) as error:
        raise BadInput(
            f"{file}: expected the columns ImageId and PredictionString ({type(error).__name__}: {error})"
        ) from None
