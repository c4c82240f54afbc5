"""Layout of one folder per class: DATA/<class>/.../<image>, or DATA/train/<class>/... beside DATA/val/<class>/..."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.account import PASSED_OVER, WITHOUT_LABEL, Inventory, name_kind
from tencrop.dataset.class_names import find_names_file, read_labels_by_id
from tencrop.dataset.source import Entries, Entry, ProgressCallback, is_image
from tencrop.dataset.split_from_path import WORDS, choose_held_split
from tencrop.dataset.walk import is_broken_link, is_shown, walk
from tencrop.images.errors import ImageMissing
from tencrop.images.limits import read_image_file
from tencrop.model.contract import Label


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
    tops = _find_tops(root, inventory)
    for top in tops:
        if not list_subfolders(top):
            raise BadInput(f"{top}: holds no class folders", f"expected {top}/<class>/<image>")
    train = [top for top, held in tops.items() if not held]
    classes = sorted({name for top in train or tops for name in list_subfolders(top)})
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
                if name not in index:
                    raise BadInput(f"{top / name}: no such class in {train[0]}", "move or remove it")
                yield from (Entry(id, index[name], held) for id in list_class_images(root, top / name, inventory))

    return Folder(root, labels, Entries.collect(root, iter_entries(), progress), inventory)


def _find_tops(root: Path, inventory: Inventory) -> dict[Path, bool]:
    """Find the folders that hold class folders, and whether each is for validation: train/ and val/, or only `root`."""
    names = list_subfolders(root)
    splits = {name: WORDS.get(name.lower()) for name in names}
    deep = [name for name in names if list_subfolders(root / name)]
    odd = next((name for name in names if splits[name] is None), None)
    if odd and {"train", "validation"} <= {splits[name] for name in deep}:
        raise BadInput(
            f"{root}: holds class folders of training and of validation images, and {odd} beside them",
            f"move {odd} elsewhere",
        )
    if odd or not any(splits[name] != "test" for name in deep):
        return {root: False}
    held = choose_held_split(splits.values())
    wanted = [name for name in names if splits[name] in ("train", held) and (name in deep or splits[name] != "test")]
    for name in names:
        if name not in wanted:
            inventory.note_unread(f"{name}/")
    return {root / name: splits[name] == held for name in wanted}


def list_subfolders(folder: Path) -> list[str]:
    """List the names of the folders in a folder, sorted, without hidden and system folders."""
    return sorted(p.name for p in folder.iterdir() if is_shown(p.name) and p.is_dir())


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
            inventory.pass_over(path.name)


def list_class_images(root: Path, folder: Path, inventory: Inventory) -> list[str]:
    """List the paths below `root` of all images in a class folder, sorted, without hidden ones.

    Links whose targets are missing count as images. Raises BadInput where there is none, or where a name is not UTF-8
    text.
    """
    found = []
    for place, files in walk(folder, inventory):
        inside = place.relative_to(root).as_posix()
        for name in files:
            if is_image(name) and (os.path.isfile(place / name) or is_broken_link(place / name)):
                found.append(f"{inside}/{name}")
            else:
                inventory.leave_out(PASSED_OVER, name_kind(name))
    if not found:
        raise BadInput(f"{folder}: a class without an image", "add some or remove the folder")
    unwritable = next((id for id in found if not _is_text(id)), None)
    if unwritable:
        raise BadInput(f"{root}: the name {unwritable!a} is not UTF-8 text", "rename it")
    return sorted(found, key=lambda id: id.split("/"))


def _is_text(name: str) -> bool:
    """Return whether a file name is UTF-8 text. On Linux it may be any bytes."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False
