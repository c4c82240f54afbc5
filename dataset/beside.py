"""Counts what lies beside the files of a data set, so that nothing is left out in silence."""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from tencrop.dataset.account import WITHOUT_LABEL, Inventory
from tencrop.dataset.walk import check_link
from tencrop.images.file_name import is_image


def count_beside(root: Path, used: Collection[str], inventory: Inventory) -> None:
    """Count what lies in the folders of the `used` files and folders, and above these: images have no label there.

    `used` are paths below `root`. Raises BadInput for a link whose target is missing, and may have been a folder.
    """
    known = {PurePosixPath(path) for path in used}
    places = {parent for path in known for parent in path.parents}
    for place in sorted(places):
        for path in (root / place).iterdir() if (root / place).is_dir() else ():
            if place / path.name in known | places:
                continue
            check_link(path.parent, path.name)
            if is_image(path.name) and not path.is_dir():
                inventory.see()
                inventory.leave_out(WITHOUT_LABEL, (place / path.name).as_posix())
            else:
                inventory.pass_over(f"{path.name}/" if path.is_dir() else path.name)
