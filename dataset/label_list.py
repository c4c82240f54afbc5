"""LabelList: a file that names the images of a folder and their classes, and its rows in any form."""

import posixpath
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.dataset.source import is_text
from tencrop.dataset.split_from_path import Split


class Row(NamedTuple):
    """An image, and the id or the number of its class; without one the label is None or empty."""

    path: str
    label: str | None


@dataclass(frozen=True)
class LabelList:
    """A file that names the images of a folder and their classes."""

    file: Path
    rows: Iterable[Row]
    top: Path  # the folder
    base: Path  # what the paths are relative to: `top`, or a folder in it
    split: Split | None = None


def read_labels(root: Path, source: LabelList, inventory: Inventory) -> dict[str, str]:
    """Read the labels, {path below the root: label}, empty where an image has none.

    Raises BadInput where a path leads out of the root, and where an image has two labels.
    """
    prefix = source.base.relative_to(root).as_posix()
    tops = {f"{top.as_posix().rstrip('/')}/" for top in (root.absolute(), root.resolve())}
    labels: dict[str, str] = {}
    for row in source.rows:
        path = posixpath.normpath(posixpath.join(prefix, row.path.replace("\\", "/")))
        path = next((path.removeprefix(top) for top in tops if path.startswith(top)), path)
        if path.startswith(("/", "../")) or path in (".", ".."):
            raise BadInput(
                f"{source.file}: names {row.path!r}, which is not in {root}",
                f"give paths relative to {source.base}",
            )
        label = sys.intern((row.label or "").strip())
        if not is_text(path + label):
            raise BadInput(f"{source.file}: holds {path!a} and {label!a}, no UTF-8 text", "correct the line")
        if path not in labels:
            labels[path] = label
        elif labels[path] == label:
            inventory.note_repeated(path)
        else:
            raise BadInput(
                f"{source.file}: labels {row.path!r} both {labels[path]!r} and {label!r}",
                "remove one of the lines",
            )
    return labels
