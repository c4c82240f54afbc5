"""WebDataset layout: tars of samples, each key.jpg with its label in key.cls, key.txt or key.json."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tencrop.common.errors import BadInput
from tencrop.dataset.account import PASSED_OVER, WITHOUT_LABEL, WITHOUT_PAIR, Group, Inventory, name_kind
from tencrop.dataset.class_lookup import ClassLookup
from tencrop.dataset.class_names import adopt_wnids, find_names_file, read_labels_by_index
from tencrop.dataset.names_file import WNID, make_ids, read_lines
from tencrop.dataset.sample_label import read_label
from tencrop.dataset.sample_names import find_images, find_labels, split_name
from tencrop.dataset.source import Entries, Entry, NoImages, ProgressCallback
from tencrop.dataset.split_from_path import Split, choose_held_split, choose_inventories, find_word, infer_splits
from tencrop.dataset.tar import Member, Tars, iter_members
from tencrop.dataset.tar_opener import CODECS, TarOpener
from tencrop.dataset.walk import list_subfolders
from tencrop.model.contract import Label

CLASSES = ("classes.txt", "classnames.txt")  # one name a line, beside the tars
PLAIN = ".tar"
UNPACK = "unpack the tars if they hold class folders"
DEVKIT = "_devkit"  # in the names of ILSVRC's archives of class names

Samples = dict[str, dict[str, Member]]  # the files of each sample by their fields


class _Shard(NamedTuple):
    """A tar of the data set."""

    file: Path
    path: str  # below the root
    place: int  # among the tars
    split: Split
    held: bool  # whether its images are for validation


def open_webdataset(
    root: Path,
    tars: list[str],
    names: Path | None,
    progress: ProgressCallback,
    training: bool = True,
) -> Tars:
    """List the images of `tars`, paths below `root`. An image's id is <tar>/<key>.<suffix>.

    Without `training` the images of the training tars are left out where there are other tars. Raises BadInput where a
    label is no class, NoImages where no image has a label.
    """
    inventory, opener, fields = Inventory(), TarOpener(), Group()
    splits = infer_splits(root, _choose_plain(tars, inventory))
    held = choose_held_split(splits.values())
    wanted = choose_inventories(splits, training, inventory)
    labels = _read_labels(root, names)
    classes = ClassLookup(labels)
    seen: dict[int, set[str]] = defaultdict(set)

    def iter_entries() -> Iterator[Entry]:
        listed = 0
        for place, (path, counted) in enumerate(wanted.items()):
            shard = _Shard(root / path, path, place, splits[path], splits[path] == held)
            for entry in _iter_samples(shard, _group_files(shard, opener, counted, fields), opener, classes, counted):
                wnids = WNID.findall(entry.id.rpartition("/")[2])
                seen[entry.label].update(wnids[-1:])
                if counted is inventory:
                    listed += 1
                    yield entry
        if not listed:
            raise NoImages(
                f"{root}: its tars hold no images with a label, but {fields.format() or 'nothing'}",
                f"expected a label in KEY.cls, KEY.txt or KEY.json beside KEY.jpg; {UNPACK}",
            )

    entries = Entries.collect(root, iter_entries(), progress)
    files = tuple(root / path for path in wanted)
    return Tars(root, adopt_wnids(root, labels, seen), entries, files, inventory, opener)


def find_webdataset_tars(root: Path) -> list[str]:
    """List the paths below `root` of the tars in it, and in its folders, sorted.

    The folders are searched only where one of them is named after a split. Beside other folders a compressed tar is no
    shard: it is what they were unpacked from.
    """
    folders = list_subfolders(root)
    splits = any(map(find_word, folders))
    places = [root, *(root / name for name in folders if splits)]
    suffixes = (PLAIN, *CODECS) if splits or not folders else (PLAIN,)
    found = [path for place in places for path in place.iterdir() if path.name.endswith(suffixes)]
    shown = (path for path in found if not path.name.startswith(".") and DEVKIT not in path.name)
    return sorted(path.relative_to(root).as_posix() for path in shown)


def _choose_plain(tars: list[str], inventory: Inventory) -> list[str]:
    """Pass over the compressed tars that lie beside their decompressed form."""
    plain = {path: path.removesuffix(suffix) + PLAIN for path in tars for suffix in CODECS if path.endswith(suffix)}
    for path in plain:
        if plain[path] in tars:
            inventory.pass_over(path)
    return [path for path in tars if plain.get(path) not in tars]


def _read_labels(root: Path, names: Path | None) -> tuple[Label, ...]:
    """Read the class names from the file of names, else from classes.txt."""
    names = find_names_file(root, names)
    if names:
        return read_labels_by_index((), names)
    beside = next((root / name for name in CLASSES if (root / name).is_file()), None)
    if beside is None:
        raise BadInput(
            f"{root}: no file names the classes of its tars",
            f"give the class names with --labels FILE, or one per line in {root / CLASSES[0]}; {UNPACK}",
        )
    return make_ids(read_lines(beside))


def _group_files(shard: _Shard, opener: TarOpener, inventory: Inventory, fields: Group) -> Samples:
    """Group the files of one tar by their samples, which fit in memory, and count their fields.

    Of two files with one name the later counts, as when the tar is unpacked.
    """
    samples: Samples = defaultdict(dict)
    for member in iter_members(shard.file, inventory, opener=opener):
        key, field = split_name(member.name)
        if field in samples[key]:
            inventory.see()
            inventory.leave_out(PASSED_OVER, f"an earlier {shard.path}/{member.name}")
        samples[key][field] = member
        fields.add(f".{field}" if field else member.name)
    inventory.see(len(samples))
    return samples


def _iter_samples(
    shard: _Shard, samples: Samples, opener: TarOpener, classes: ClassLookup, inventory: Inventory
) -> Iterator[Entry]:
    """List the images of one tar. Samples without an image or without a label are left out."""
    test = shard.split == "test"
    for key, fields in samples.items():
        images, labels = find_images(fields), find_labels(fields)
        for field in images[1:]:
            inventory.pass_over(fields[field].name)
        if not images:
            kind = name_kind(next(iter(fields.values())).name)
            inventory.leave_out(*((WITHOUT_PAIR, f"{shard.path}/{key}") if labels else (PASSED_OVER, kind)))
            continue
        found = (read_label(opener, shard.file, field, fields[field], classes, test) for field in labels)
        label = next((number for number in found if number is not None), None)
        image = fields[images[0]]
        if label is None:
            inventory.leave_out(WITHOUT_LABEL if test else WITHOUT_PAIR, f"{shard.path}/{image.name}")
        else:
            yield Entry(f"{shard.path}/{image.name}", label, shard.held, (shard.place, image.start, image.size))
