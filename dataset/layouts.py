"""Detects which layout a data set folder has from its contents, and opens the matching reader."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tencrop.common.errors import BadInput
from tencrop.dataset.beside import count_beside
from tencrop.dataset.class_names import find_names_file
from tencrop.dataset.devkit import DATA, META
from tencrop.dataset.fiftyone import find_fiftyone
from tencrop.dataset.folder import open_folder
from tencrop.dataset.hub_configs import CARD
from tencrop.dataset.hub_metadata import find_metadata
from tencrop.dataset.ilsvrc import Challenge, find_challenge, open_ilsvrc
from tencrop.dataset.ilsvrc_folders import SOLUTION, find_unpacked, open_unpacked
from tencrop.dataset.list_file import open_list
from tencrop.dataset.listed import open_listed
from tencrop.dataset.names_file import WNID
from tencrop.dataset.objectnet import MAPPINGS, find_objectnet, open_objectnet
from tencrop.dataset.parquet import find_parquet_files, open_parquet
from tencrop.dataset.place import Place
from tencrop.dataset.prepared_store import DOCUMENT
from tencrop.dataset.saved_dataset import find_saved, open_saved
from tencrop.dataset.source import NoImages, ProgressCallback, Source, ignore_progress, is_text
from tencrop.dataset.source_options import SourceOptions
from tencrop.dataset.webdataset import CLASSES, find_webdataset_tars, open_webdataset
from tencrop.dataset.wrong_layout import refuse_file

DEFAULTS = SourceOptions()
TABLES = ("config", "image_root", "image_column", "label_column")  # the options for rows of tables


class Layout(NamedTuple):
    """A layout that a folder has."""

    words: str  # what the folder holds
    open: Callable[[], Source]
    read_options: Sequence[str] = ()  # beside `names`
    used: Sequence[str] | None = None  # paths below the folder whose neighbours are counted; None: the reader counts


def open_source(
    root: Path,
    options: SourceOptions = DEFAULTS,
    progress: ProgressCallback = ignore_progress,
    training: bool = True,
) -> Source:
    """List a data set; `progress` is called with the number of images listed so far.

    Without `training` the training images are left out where the data set has validation images of its own, and these
    have labels. Raises BadInput where the folder has none of the layouts, or a damaged one, and where an option is
    given that its layout does not read.
    """
    if root.is_file():
        raise refuse_file(root)
    if not root.is_dir():
        raise BadInput(
            f"{root}: no such folder",
            "give one that holds a folder per class, ILSVRC's or WebDataset tars, or parquet or Arrow files",
        )
    try:
        source = _open(Place(root, options, progress, training))
    except NoImages:
        if training:
            raise
        source = _open(Place(root, options, progress, True))
    odd = next((label for label in source.labels if not is_text(label.id + label.name)), None)
    if odd:
        raise BadInput(f"{root}: the name of class {odd.id!a} is not UTF-8 text", "rename it")
    return source


def _open(at: Place) -> Source:
    layout = next(layout for find in LAYOUTS if (layout := find(at)))
    at.options.check_read(at.root, layout.words, *layout.read_options)
    source = layout.open()
    if layout.used is not None:
        names = find_names_file(at.root, at.options.names)  # it names the classes, and is no part of the images
        own = [path.relative_to(at.root).as_posix() for path in [names] if path and path.is_relative_to(at.root)]
        count_beside(at.root, [*layout.used, *own], source.inventory)
    return source


def _find_list(at: Place) -> Layout | None:
    file = at.options.list
    if not file:
        return None
    return Layout(
        "the images of a list", lambda: open_listed(at.root, [open_list(at.root, file)], *at.listing), ("list",)
    )


def _find_prepared(at: Place) -> None:
    """Raise BadInput for a prepared store: it is made of a data set, and is none."""
    if (at.root / DOCUMENT).is_file():
        raise BadInput(f"{at.root}: a data set that is prepared already", "name the one that it was made of")


def _find_challenge(at: Place) -> Layout | None:
    challenge = find_challenge(at.root)
    if not challenge or (len(challenge.list_tars(at.root)) < 2 and at.image_folders):
        return None
    read = partial(open_ilsvrc, at.root, challenge, *at.listing)
    return Layout(f"files of {challenge.name}", read, used=_list_own(at.root, challenge))


def _find_unpacked(at: Place) -> Layout | None:
    unpacked = find_unpacked(at.root)
    if not unpacked:
        return None
    read = partial(open_unpacked, at.root, unpacked, *at.listing)
    own = [SOLUTION, f"{unpacked.tar.part}.txt", *_list_own(at.root, unpacked.challenge)]
    return Layout(f"folders of {unpacked.challenge.name}", read, used=[*own, *unpacked.list_folders(at.root)])


def _find_objectnet(at: Place) -> Layout | None:
    positions = find_objectnet(at.root)
    if positions is None:
        return None
    read = partial(open_objectnet, at.root, positions, at.options.names, at.progress)
    return Layout("ObjectNet", read, used=[MAPPINGS, *positions])


def _find_saved(at: Place) -> Layout | None:
    saved = find_saved(at.root, bool(at.other_images))
    if not saved:
        return None
    read = partial(open_saved, at.root, saved, at.options, at.progress, at.training)
    return Layout("a data set of save_to_disk", read, TABLES)


def _find_parquet(at: Place) -> Layout | None:
    files = find_parquet_files(at.root, at.folders, at.other_images)
    if not files:
        return None
    read = partial(open_parquet, at.root, files, at.options, at.progress, at.training)
    return Layout("parquet files", read, TABLES, None if at.options.image_root else [*files, CARD])


def _find_webdataset(at: Place) -> Layout | None:
    tars = [] if at.image_folders else find_webdataset_tars(at.root)
    packed = next((tar for tar in tars if WNID.fullmatch(Path(tar).stem)), None)
    if packed:
        raise BadInput(
            f"{at.root}: holds a tar of each class, such as {packed}",
            "unpack each into a folder of its name, or name the folder of the tar that they were in",
        )
    if not tars:
        return None
    return Layout("WebDataset tars", partial(open_webdataset, at.root, tars, *at.listing), used=[*tars, *CLASSES])


def _find_folder(at: Place) -> Layout:
    """Class folders, or images whose labels metadata or labels.json have: the layout where there is no other."""

    def read() -> Source:
        lists = find_metadata(at.root) or find_fiftyone(at.root)
        return open_listed(at.root, lists, *at.listing) if lists else open_folder(at.root, *at.listing)

    return Layout("no parquet or Arrow files", read)


def _list_own(root: Path, challenge: Challenge) -> list[str]:
    """List the files at the top that are of a challenge: its tars, and its devkit, packed or not."""
    own = [path.name for path in root.glob(f"{challenge.name}*")]
    return [*own, *challenge.devkits, challenge.patches or "", DATA, META]


LAYOUTS: Sequence[Callable[[Place], Layout | None]] = (  # the first that a folder has counts
    _find_list,
    _find_prepared,
    _find_challenge,
    _find_unpacked,
    _find_objectnet,
    _find_saved,
    _find_parquet,
    _find_webdataset,
    _find_folder,
)
