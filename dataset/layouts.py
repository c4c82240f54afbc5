"""Detects which layout a data set folder has from its contents, and opens the matching reader."""

from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.dataset.fiftyone import find_fiftyone
from tencrop.dataset.folder import open_folder
from tencrop.dataset.hub_metadata import find_metadata
from tencrop.dataset.ilsvrc import find_challenge, open_ilsvrc
from tencrop.dataset.ilsvrc_folders import find_unpacked, open_unpacked
from tencrop.dataset.list_file import open_list
from tencrop.dataset.listed import open_listed
from tencrop.dataset.parquet import open_parquet
from tencrop.dataset.source import NoImages, ProgressCallback, Source, ignore_progress
from tencrop.dataset.source_options import SourceOptions
from tencrop.dataset.walk import walk
from tencrop.dataset.webdataset import find_webdataset_tars, open_webdataset

DEFAULTS = SourceOptions()


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
    if not root.is_dir():
        raise BadInput(
            f"{root}: no such folder",
            "give one that holds a folder per class, ILSVRC's or WebDataset tars, or parquet files",
        )
    try:
        return _open(root, options, progress, training)
    except NoImages:
        if training:
            raise
        return _open(root, options, progress, True)


def _open(root: Path, options: SourceOptions, progress: ProgressCallback, training: bool) -> Source:
    if options.list:
        options.check_read(root, "the images of a list", "list")
        return open_listed(root, [open_list(root, options.list)], options.names, progress, training)
    challenge = find_challenge(root)
    if challenge:
        options.check_read(root, f"files of {challenge.name}")
        return open_ilsvrc(root, challenge, options.names, progress, training)
    unpacked = find_unpacked(root)
    if unpacked:
        options.check_read(root, f"folders of {unpacked.challenge.name}")
        return open_unpacked(root, unpacked, options.names, progress, training)
    parquet = _find_parquet_files(root)
    if parquet:
        options.check_read(root, "parquet files", "config", "image_root", "image_column", "label_column")
        return open_parquet(root, parquet, options, progress, training)
    tars = find_webdataset_tars(root)
    if tars:
        options.check_read(root, "WebDataset tars")
        return open_webdataset(root, tars, options.names, progress, training)
    options.check_read(root, "no parquet files")
    lists = find_metadata(root) or find_fiftyone(root)
    if lists:
        return open_listed(root, lists, options.names, progress, training)
    return open_folder(root, options.names, progress, training)


def _find_parquet_files(root: Path) -> list[str]:
    """List the paths below `root`, without hidden folders and files."""
    found = []
    for place, files in walk(root, Inventory()):
        inside = place.relative_to(root)
        found += [
            (inside / name).as_posix() for name in files if name.endswith(".parquet") and not name.startswith(".")
        ]
    return found
