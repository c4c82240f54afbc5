"""ObjectNet: images/<folder>/, and mappings/ from the folders to classes of ImageNet, as its authors publish them.

A folder may stand for several classes of ImageNet, all of which are right. Folders that stand for none are left out.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.dataset.folder import Folder, list_class_images
from tencrop.dataset.source import Entries, Entry, ProgressCallback
from tencrop.dataset.walk import list_subfolders
from tencrop.model.contract import Label

IMAGES, MAPPINGS = "images", "mappings"
CLASSES = "objectnet_to_imagenet_1k.json"  # name of ObjectNet's class -> names of ImageNet's, joined by SEPARATOR
FOLDERS = "folder_to_objectnet_label.json"  # folder -> name of ObjectNet's class
NAMES = "imagenet_to_label_2012_v2"  # a name of ImageNet's a line; the line's number, from 0, is the class's
POSITIONS = "pytorch_to_imagenet_2012_id.json"  # position among the sorted wnids -> number of the class
SEPARATOR = "; "
SEVERAL = ";"  # joins the positions in a class's id


def find_objectnet(root: Path) -> dict[str, list[int]] | None:
    """Find the folders below `root` of classes that ImageNet has too, and the positions of these among sorted wnids.

    None where the folder is not ObjectNet's. Raises BadInput where a file of the mappings is missing or damaged.
    """
    if not (root / MAPPINGS / CLASSES).is_file() or not (root / IMAGES).is_dir():
        return None
    mappings = root / MAPPINGS
    try:
        classes, folders, order = (_read_object(mappings / name) for name in (CLASSES, FOLDERS, POSITIONS))
        positions = {int(number): int(position) for position, number in order.items()}
        names = (mappings / NAMES).read_text(encoding="utf-8").splitlines()
        of_name = {name.strip(): positions[number] for number, name in enumerate(names) if number in positions}
        found = {
            f"{IMAGES}/{folder}": [of_name[name] for name in classes[folders[folder]].split(SEPARATOR)]
            for folder in list_subfolders(root / IMAGES)
            if folders[folder] in classes
        }
    except OSError as error:
        raise BadInput(f"{error.filename}: cannot be read ({error.strerror})", "unpack ObjectNet again") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise BadInput(f"{mappings}: damaged ({error})", "unpack ObjectNet again") from None
    except KeyError as error:
        raise BadInput(
            f"{mappings}: has no {error}", "unpack ObjectNet again, and add no folder to its images"
        ) from None
    return found


def _read_object(file: Path) -> Mapping[str, Any]:
    """Read a JSON object. Raises ValueError where it is something else, OSError."""
    document = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{file.name} is no object")
    return document


def open_objectnet(
    root: Path, positions: Mapping[str, list[int]], names: Path | None, progress: ProgressCallback
) -> Folder:
    """List the images of the folders that `find_objectnet` found. A class's id is its positions, joined by SEVERAL.

    Raises BadInput where there is a file of class names: the mappings name the classes.
    """
    if names:
        raise BadInput(f"--labels: does not apply to {root}, whose mappings name the classes", "leave the option out")
    inventory = Inventory()
    words = (folder.removeprefix(f"{IMAGES}/").replace("_", " ") for folder in positions)
    labels = [
        Label(SEVERAL.join(map(str, several)), name) for several, name in zip(positions.values(), words, strict=True)
    ]

    def iter_entries() -> Iterator[Entry]:
        for label, folder in enumerate(positions):
            yield from (Entry(id, label) for id in list_class_images(root, root / folder, inventory))

    return Folder(root, tuple(labels), Entries.collect(root, iter_entries(), progress), inventory)
