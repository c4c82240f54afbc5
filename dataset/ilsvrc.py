"""ILSVRC-2012 and -2010 as downloaded: reads the tar of a thousand tars, the flat tars and the devkit, still packed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tencrop.common.errors import BadInput
from tencrop.dataset.account import WITHOUT_PAIR, Inventory
from tencrop.dataset.class_names import read_labels_by_id
from tencrop.dataset.devkit import Devkit, find_devkit, read_devkit
from tencrop.dataset.source import Entries, Entry, ProgressCallback
from tencrop.dataset.tar import Member, Tars, iter_members
from tencrop.dataset.walk import list_subfolders
from tencrop.images.file_name import is_image

TRAIN = "train"  # folder of the training images in ids, and in the tar of patches


class HeldTar(NamedTuple):
    """A tar of images for validation."""

    file: str
    part: str  # word in the images' names, and their folder in ids
    truth: str  # file with the IDs of their classes, beside it or in the devkit


@dataclass(frozen=True)
class Challenge:
    """The names of the files of one year's challenge."""

    name: str  # the images' names begin with it
    train: str
    held: tuple[HeldTar, ...]  # the first that is there is for validation
    devkits: tuple[str, ...]  # the archive, and folders that may hold what is in it
    patches: str | None = None  # a tar of images that replace others of their names

    def list_tars(self, root: Path) -> list[str]:
        """List the tars of images that a folder holds."""
        return [name for name in (self.train, *(tar.file for tar in self.held)) if (root / name).is_file()]


ILSVRC_2012 = Challenge(
    "ILSVRC2012",
    "ILSVRC2012_img_train.tar",
    (HeldTar("ILSVRC2012_img_val.tar", "val", "ILSVRC2012_validation_ground_truth.txt"),),
    ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12", "."),
)
ILSVRC_2010 = Challenge(
    "ILSVRC2010",
    "ILSVRC2010_images_train.tar",
    (
        HeldTar("ILSVRC2010_images_val.tar", "val", "ILSVRC2010_validation_ground_truth.txt"),
        HeldTar("ILSVRC2010_images_test.tar", "test", "ILSVRC2010_test_ground_truth.txt"),
    ),
    ("ILSVRC2010_devkit-1.0.tar.gz", "devkit-1.0", "."),
    "patch_images.tar",
)
CHALLENGES = (ILSVRC_2012, ILSVRC_2010)


def find_challenge(root: Path) -> Challenge | None:
    """Find the challenge whose tars a folder holds, or its devkit alone. Raises BadInput for the tars of two."""
    found = [challenge for challenge in CHALLENGES if challenge.list_tars(root)]
    if len(found) > 1:
        raise BadInput(
            f"{root}: holds tars of {' and of '.join(challenge.name for challenge in found)}",
            "keep each challenge in a folder of its own",
        )
    lone = [one for one in CHALLENGES if (root / one.devkits[0]).is_file() and not list_subfolders(root)]
    return next(iter(found or lone), None)


def open_ilsvrc(
    root: Path, challenge: Challenge, names: Path | None, progress: ProgressCallback, training: bool = True
) -> Tars:
    """List the images of the training tar and of one for validation; ids are train/<wnid>/<image> and val/<image>.

    Without `training` the training tar is left out where there is another. Raises BadInput where the devkit is missing
    or does not fit the tars.
    """
    inventory = Inventory()
    tars = challenge.list_tars(root)
    held = next((tar for tar in challenge.held if tar.file in tars), None)
    used = [tar for tar in tars if (held and tar == held.file) or (tar == challenge.train and (training or not held))]
    for path in sorted(root.glob(f"{challenge.name}_*.tar")):
        if path.name not in used:
            inventory.note_unread(path.name)
    if not used:
        wanted = " nor ".join([challenge.train, *(tar.file for tar in challenge.held)])
        raise BadInput(f"{root}: holds the devkit, but neither {wanted}", "put them beside it")
    devkit = _read_devkit(root, challenge)
    files = [root / tar for tar in used]

    def iter_entries() -> Iterator[Entry]:
        for place, file in enumerate(files[: len(used)]):
            if held and file.name == held.file:
                yield from _iter_held(file, place, challenge, held, devkit.read_truth(root, held.truth), inventory)
            else:
                yield from _iter_training(file, place, devkit, inventory)

    entries = iter_entries()
    if challenge.patches and (root / challenge.patches).is_file():
        files.append(root / challenge.patches)
        entries = _replace(entries, files[-1], len(used), inventory)
    labels = read_labels_by_id([label.id for label in devkit.labels], names) if names else devkit.labels
    return Tars(root, labels, Entries.collect(root, entries, progress), tuple(files), inventory)


def _read_devkit(root: Path, challenge: Challenge) -> Devkit:
    file = find_devkit(root, challenge.devkits)
    if file is None:
        raise BadInput(f"{root / challenge.devkits[0]}: missing", "it names the classes: put it beside the tars")
    return read_devkit(file, challenge.name)


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
                id = f"{TRAIN}/{path.stem}/{member.name.rpartition('/')[2]}"
                yield Entry(id, index[path.stem], False, (place, member.start, member.size))
    without = sorted(index.keys() - seen)
    if without:
        raise BadInput(
            f"{file}: holds no image of {without[0]} ({len(without)} of {len(index)} classes are missing)",
            "fetch it again",
        )


def _iter_held(
    file: Path, place: int, challenge: Challenge, held: HeldTar, truth: Sequence[int], inventory: Inventory
) -> Iterator[Entry]:
    """List a flat tar. Line n of the ground truth is the class of image number n, wherever it lies in the tar."""
    numbered = re.compile(rf"{challenge.name}_{held.part}_(\d{{8}})\.JPEG")
    images: list[tuple[int, Member]] = []
    for member in iter_members(file, inventory):
        match = numbered.fullmatch(member.name.rpartition("/")[2])
        if not match:
            inventory.pass_over(member.name)
        else:
            inventory.see()
            images.append((int(match[1]), member))
    if sorted(number for number, _ in images) != list(range(1, len(truth) + 1)):
        raise BadInput(f"{file}: holds {len(images)} images, {held.truth} is of images 1 to {len(truth)}")
    for number, member in images:
        id = f"{held.part}/{member.name.rpartition('/')[2]}"
        yield Entry(id, truth[number - 1], True, (place, member.start, member.size))


def _replace(entries: Iterator[Entry], file: Path, place: int, inventory: Inventory) -> Iterator[Entry]:
    """Give an image the place of the one in a tar of patches that has its name and lies in the folder of its part."""
    patches: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for member in iter_members(file, Inventory()):
        patches[tuple(member.name.split("/")[-2:])] = (place, member.start, member.size)
    parts = set()
    for entry in entries:
        part, *_, name = entry.id.split("/")
        parts.add(part)
        yield entry._replace(place=patches.pop((part, name), entry.place))
    for part, name in (key for key in patches if key[0] in parts):
        inventory.see()
        inventory.leave_out(WITHOUT_PAIR, f"{file.name}/{part}/{name}")
