"""Where labelled images come from: the place that sees by what lies in a folder which layout it has."""

from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.folder import open_folder, subfolders
from tencrop.dataset.ilsvrc import DEVKIT, TRAIN, VALIDATION, open_ilsvrc
from tencrop.dataset.kaggle import IMAGES, open_kaggle
from tencrop.dataset.parquet import open_parquet
from tencrop.dataset.source import Listing, Source, unheard
from tencrop.dataset.walk import walk
from tencrop.dataset.webdataset import open_webdataset, webdataset_tars


def open_source(root: Path, names: Path | None = None, listing: Listing = unheard, training: bool = True) -> Source:
    """List a data set; `names` is a file of lines "id words" that tells the classes' words, `listing` hears how far it is.
    Without `training` the training images of a data set that has validation images of its own are left unlisted where no other thing is
    read off them: there are many.

    Raises BadInput where the folder holds none of the layouts or one that is damaged.
    """
    if not root.is_dir():
        raise BadInput(
            f"{root}: no such folder; give one that holds a folder per class, ILSVRC's or WebDataset tars, or parquet files"
        )
    if any((root / name).is_file() for name in (TRAIN, VALIDATION)):
        return open_ilsvrc(root, names, listing, training)
    if (root / IMAGES).is_dir():
        return open_kaggle(root, names, listing, training)
    if (root / DEVKIT).is_file() and not subfolders(root):
        return open_ilsvrc(root, names, listing, training)
    parquet = _parquet_files(root)
    if parquet:
        return open_parquet(root, parquet, names, listing)
    tars = webdataset_tars(root)
    if tars:
        return open_webdataset(root, tars, names, listing)
    return open_folder(root, names, listing, training)


def _parquet_files(root: Path) -> list[str]:
    """Paths below `root`, hidden folders and files left out."""
    found = []
    for place, files in walk(root):
        inside = place.relative_to(root)
        found += [
            (inside / name).as_posix() for name in files if name.endswith(".parquet") and not name.startswith(".")
        ]
    return found
