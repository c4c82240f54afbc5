"""Reads the classes of an imported net, in the order of its outputs."""

from pathlib import Path
from typing import NamedTuple

from tencrop.common.errors import BadInput
from tencrop.dataset.names_file import read_names_file
from tencrop.model.contract import Label


class ImportedLabels(NamedTuple):
    """The labels of a net, and a line about the ids where the file of names does not state them."""

    labels: tuple[Label, ...]
    assumed: tuple[str, ...]


def read_labels(path: Path | None, classes: int) -> ImportedLabels:
    """Read a file of class names (dataset/names_file.py), in any order of the wnids; without a file count from 0.

    Raises BadInput where the file has another form, or another number of classes than the net.
    """
    if path is None:
        numbered = tuple(Label(str(index), f"class {index}") for index in range(classes))
        return ImportedLabels(numbered, ("classes numbered from 0, in the order of the outputs (--labels)",))
    file = read_names_file(path, any_id=False)
    if len(file.labels) != classes:
        raise BadInput(
            f"{path}: names {len(file.labels)} classes, the net has {classes} outputs",
            "give one name a class, in the order of the outputs",
        )
    lines = () if file.has_ids else (f"the names of {path.name} as the ids of the classes (--labels)",)
    return ImportedLabels(file.labels, lines)
