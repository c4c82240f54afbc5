"""Detects which layout a data set folder has from its contents, and opens the matching reader."""

from collections.abc import Iterable
from pathlib import Path

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
from tencrop.dataset.parquet import open_parquet
from tencrop.dataset.prepared_store import DOCUMENT
from tencrop.dataset.saved_dataset import find_saved, open_saved
from tencrop.dataset.source import NoImages, ProgressCallback, Source, ignore_progress, is_text
from tencrop.dataset.source_options import SourceOptions
from tencrop.dataset.walk import holds_images, list_subfolders
from tencrop.dataset.webdataset import CLASSES, find_webdataset_tars, open_webdataset
from tencrop.dataset.wrong_layout import refuse_file

DEFAULTS = SourceOptions()
DEPTH = 3  # folders between DATA and a parquet file, as in data/default/train/0000.parquet


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
        source = _open(root, options, progress, training)
    except NoImages:
        if training:
            raise
        source = _open(root, options, progress, True)
    odd = next((label for label in source.labels if not is_text(label.id + label.name)), None)
    if odd:
        raise BadInput(f"{root}: the name of class {odd.id!a} is not UTF-8 text", "rename it")
    return source


def _open(root: Path, options: SourceOptions, progress: ProgressCallback, training: bool) -> Source:
    if options.list:
        options.check_read(root, "the images of a list", "list")
        return open_listed(root, [open_list(root, options.list)], options.names, progress, training)
    if (root / DOCUMENT).is_file():
        raise BadInput(f"{root}: a data set that is prepared already", "name the one that it was made of")
    folders, image_folders = _find_folders(root)
    challenge = find_challenge(root)
    originals = challenge.list_tars(root) if challenge else []
    if challenge and (len(originals) > 1 or not image_folders):
        options.check_read(root, f"files of {challenge.name}")
        source: Source = open_ilsvrc(root, challenge, options.names, progress, training)
        return _count_beside(source, options, _list_own(root, challenge))
    unpacked = find_unpacked(root)
    if unpacked:
        options.check_read(root, f"folders of {unpacked.challenge.name}")
        source = open_unpacked(root, unpacked, options.names, progress, training)
        own = [SOLUTION, f"{unpacked.tar.part}.txt", *_list_own(root, unpacked.challenge)]
        return _count_beside(source, options, [*own, *unpacked.list_folders(root)])
    other_images = [] if options.image_root else image_folders
    saved = find_saved(root, bool(other_images))
    if saved:
        options.check_read(root, "a data set of save_to_disk", "config", "image_root", "image_column", "label_column")
        return open_saved(root, saved, options, progress, training)
    parquet = _find_parquet_files(root, folders, other_images)
    if parquet:
        options.check_read(root, "parquet files", "config", "image_root", "image_column", "label_column")
        source = open_parquet(root, parquet, options, progress, training)
        return source if options.image_root else _count_beside(source, options, [*parquet, CARD])
    tars = [] if image_folders else find_webdataset_tars(root)
    packed = next((tar for tar in tars if WNID.fullmatch(Path(tar).stem)), None)
    if packed:
        raise BadInput(
            f"{root}: holds a tar of each class, such as {packed}",
            "unpack each into a folder of its name, or name the folder of the tar that they were in",
        )
    if tars:
        options.check_read(root, "WebDataset tars")
        source = open_webdataset(root, tars, options.names, progress, training)
        return _count_beside(source, options, [*tars, *CLASSES])
    options.check_read(root, "no parquet or Arrow files")
    lists = find_metadata(root) or find_fiftyone(root)
    if lists:
        return open_listed(root, lists, options.names, progress, training)
    return open_folder(root, options.names, progress, training)


def _find_folders(root: Path, depth: int = DEPTH) -> tuple[list[Path], list[Path]]:
    """Find the folders below `root`, `depth` levels deep, that hold no image, and those that hold some.

    What holds an image is a class folder, and is not looked into.
    """
    without, with_images = [], []
    for name in list_subfolders(root):
        if holds_images(root / name):
            with_images.append(root / name)
        else:
            deeper, deeper_with_images = _find_folders(root / name, depth - 1) if depth > 1 else ([], [])
            without += [root / name, *deeper]
            with_images += deeper_with_images
    return without, with_images


def _find_parquet_files(root: Path, folders: list[Path], image_folders: list[Path]) -> list[str]:
    """List the paths below `root` of the parquet files in it and in `folders`.

    Beside folders that hold images they count only where one lies at the top or in data/: a report among class folders
    holds one, too. Raises BadInput where two or more of these folders are beside such a file: they may be the classes.
    """
    found = [path for place in (root, *folders) for path in place.glob("[!.]*.parquet") if not path.is_dir()]
    at_top = [path for path in found if path.parent in (root, root / "data")]
    if at_top and len(image_folders) > 1:
        first, images = min(at_top).relative_to(root), image_folders[0].relative_to(root)
        raise BadInput(
            f"{root}: holds {first}, and images in {images} and other folders",
            "keep one data set in a folder; for parquet files that name these images add --image-root DIR",
        )
    return sorted(path.relative_to(root).as_posix() for path in found) if at_top or not image_folders else []


def _list_own(root: Path, challenge: Challenge) -> list[str]:
    """List the files at the top that are of a challenge: its tars, and its devkit, packed or not."""
    own = [path.name for path in root.glob(f"{challenge.name}*")]
    return [*own, *challenge.devkits, challenge.patches or "", DATA, META]


def _count_beside(source: Source, options: SourceOptions, used: Iterable[str]) -> Source:
    """Count what lies beside the used files and folders; what names the classes is no part of the images."""
    names = find_names_file(source.root, options.names)
    own = [path.relative_to(source.root).as_posix() for path in [names] if path and path.is_relative_to(source.root)]
    count_beside(source.root, [*used, *own], source.inventory)
    return source
