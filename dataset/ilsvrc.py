"""ILSVRC-2012 as downloaded: reads the tar of a thousand tars, the validation tar and the devkit, all still packed."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.dataset.class_names import read_labels_by_id
from tencrop.dataset.devkit import Devkit, read_devkit
from tencrop.dataset.source import Entries, Entry, ProgressCallback, is_image
from tencrop.dataset.tar import Member, Tars, iter_members

TRAIN, VALIDATION, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")


def open_ilsvrc(root: Path, names: Path | None, progress: ProgressCallback, training: bool = True) -> Tars:
    """List the images of the training tar and of the validation tar; ids are train/<wnid>/<image> and val/<image>.

    Without `training` the training tar is left out where there is a validation tar. Raises BadInput where the devkit is
    missing or does not fit the tars.
    """
    inventory = Inventory()
    files = tuple(root / name for name in (TRAIN, VALIDATION) if (root / name).is_file())
    if not files:
        raise BadInput(f"{root}: holds the devkit, but neither {TRAIN} nor {VALIDATION}", "put them beside it")
    if not training:
        for file in files[:-1]:
            inventory.note_unread(file.name)
        files = files[-1:]
    devkit = read_devkit(root / DEVKIT)

    def iter_entries() -> Iterator[Entry]:
        for place, file in enumerate(files):
            yield from (_iter_training if file.name == TRAIN else _iter_validation)(file, place, devkit, inventory)

    labels = read_labels_by_id([label.id for label in devkit.labels], names) if names else devkit.labels
    return Tars(root, labels, Entries.collect(root, iter_entries(), progress), files, inventory)


def _iter_training(file: Path, place: int, devkit: Devkit, inventory: Inventory) -> Iterator[Entry]:
    """List a tar of tars, each named after its wnid."""
    index = {label.id: label_index for label_index, label in enumerate(devkit.labels)}
    seen = set()
    for inner in iter_members(file, inventory):
        path = PurePosixPath(inner.name)
        if path.suffix != ".tar":
            inventory.pass_over(inner.name)
            continue
        if path.stem not in index:
            raise BadInput(f"{file}: {inner.name} is no class of {devkit.file.name}", "the two do not belong together")
        for member in iter_members(file, inventory, inner):
            if not is_image(member.name):
                inventory.pass_over(member.name)
            else:
                inventory.see()
                seen.add(path.stem)
                yield Entry(
                    f"train/{path.stem}/{member.name}", index[path.stem], False, (place, member.start, member.size)
                )
    without = sorted(index.keys() - seen)
    if without:
        raise BadInput(
            f"{file}: holds no image of {without[0]} ({len(without)} of {len(index)} classes are missing)",
            "fetch it again",
        )


def _iter_validation(file: Path, place: int, devkit: Devkit, inventory: Inventory) -> Iterator[Entry]:
    """List a flat tar. Line n of the ground truth is the class of image number n, wherever it lies in the tar."""
    images: list[tuple[int, Member]] = []
    for member in iter_members(file, inventory):
        match = NUMBERED.fullmatch(member.name.rpartition("/")[2])
        if not match:
            inventory.pass_over(member.name)
        else:
            inventory.see()
            images.append((int(match[1]), member))
    if sorted(number for number, _ in images) != list(range(1, len(devkit.truth) + 1)):
        raise BadInput(
            f"{file}: holds {len(images)} images, "
            f"the ground truth of {devkit.file.name} is of images 1 to {len(devkit.truth)}"
        )
    for number, member in images:
        yield Entry(
            f"val/{member.name.rpartition('/')[2]}", devkit.truth[number - 1], True, (place, member.start, member.size)
        )
