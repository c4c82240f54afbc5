"""Layout of one folder per class: DATA/<class>/.../<image>, or DATA/train/<class>/... beside DATA/val/<class>/..."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.account import PASSED_OVER, WITHOUT_LABEL, Group, Inventory, name_kind
from tencrop.dataset.class_names import find_names_file, read_labels_by_id
from tencrop.dataset.source import Entries, Entry, ProgressCallback, is_text
from tencrop.dataset.split_folders import find_tops
from tencrop.dataset.walk import check_link, holds_images, is_broken_link, is_shown, list_subfolders, walk
from tencrop.dataset.wrong_layout import refuse_class, refuse_folder
from tencrop.images.errors import ImageMissing
from tencrop.images.file_name import is_image
from tencrop.images.limits import read_image_file
from tencrop.model.contract import Label

UNLABELED = "_unlabeled"  # folder of images without a class, in FiftyOne's ImageClassificationDirectoryTree


@dataclass(frozen=True)
class Folder:
    """Images in files of their own; an entry's id is the path below `root`."""

    root: Path
    labels: tuple[Label, ...]
    entries: Entries
    inventory: Inventory

    def read(self, entry: Entry) -> bytes:
        """Read the image file.

        Raises ImageTooLarge before a large one is read, ImageMissing for a link whose target is missing, OSError where
        the file has vanished.
        """
        path = self.root / entry.id
        try:
            return read_image_file(path)
        except OSError:
            if is_broken_link(path):
                raise ImageMissing(f"a link to {os.readlink(path)}, which is not there") from None
            raise


def open_folder(root: Path, names: Path | None, progress: ProgressCallback, training: bool = True) -> Folder:
    """List the class folders, sorted by name, and their images, sorted by path.

    Without `training` the images of train/ are left out where there are validation images too. Images that lie beside
    the class folders have no label. Raises BadInput where there is no class folder, where a listed class has no image,
    or where the file of names misses a class.
    """
    inventory = Inventory()
    tops = find_tops(root, inventory)
    for top in tops:
        if not list_subfolders(top):
            raise refuse_folder(top)
    train = [top for top, held in tops.items() if not held]
    classes = sorted({name for top in train or tops for name in list_subfolders(top)} - {UNLABELED})
    if root in tops:
        _check_depth(root, classes)
    names = find_names_file(root, names)
    labels = read_labels_by_id(classes, names)
    index = {name: label for label, name in enumerate(classes)}

    def iter_entries() -> Iterator[Entry]:
        for place in dict.fromkeys([root, *tops]):
            _count_loose_files(place, inventory, names)
        for top, held in tops.items():
            if not (training or held) and any(tops.values()):
                inventory.note_unread(f"{top.name}/")
                continue
            for name in list_subfolders(top):
                if name == UNLABELED:
                    for id in list_class_images(root, top / name, inventory):
                        inventory.leave_out(WITHOUT_LABEL, id)
                    continue
                if name not in index:
                    raise BadInput(f"{top / name}: no such class in {train[0]}", "move or remove it")
                yield from (Entry(id, index[name], held) for id in list_class_images(root, top / name, inventory))

    return Folder(root, labels, Entries.collect(root, iter_entries(), progress), inventory)


def _check_depth(root: Path, classes: list[str]) -> None:
    """Raise BadInput where there is one class folder, which holds folders and no image: these may be the classes."""
    only = root / classes[0] if len(classes) == 1 else None
    if only and list_subfolders(only) and not holds_images(only):
        raise BadInput(f"{root}: holds one class folder, {only.name}, with folders in it", f"name {only} instead")


def _count_loose_files(folder: Path, inventory: Inventory, names: Path | None) -> None:
    """Count what lies beside class folders: images have no label there, other files are passed over by name."""
    for path in folder.iterdir():
        if path.is_dir():
            if not is_shown(path.name):
                inventory.pass_over(f"{path.name}/")
        elif is_image(path.name):
            inventory.see()
            inventory.leave_out(WITHOUT_LABEL, path.name)
        elif path != names:
            check_link(folder, path.name)
            inventory.pass_over(path.name)


def list_class_images(root: Path, folder: Path, inventory: Inventory) -> list[str]:
    """List the paths below `root` of all images in a class folder, sorted, without hidden ones.

    Links whose targets are missing count as images. Raises BadInput where there is none, or where a name is not UTF-8
    text.
    """
    found, others = [], Group()
    for place, files in walk(folder, inventory):
        inside = place.relative_to(root).as_posix()
        for name in files:
            if is_image(name) and (os.path.isfile(place / name) or is_broken_link(place / name)):
                found.append(f"{inside}/{name}")
            else:
                others.add(name_kind(name))
                inventory.leave_out(PASSED_OVER, name_kind(name))
    if not found:
        raise refuse_class(folder, others)
    unwritable = next((id for id in found if not is_text(id)), None)
    if unwritable:
        raise BadInput(f"{root}: the name {unwritable!a} is not UTF-8 text", "rename it")
    return sorted(found, key=lambda id: id.split("/"))
