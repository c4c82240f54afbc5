"""Reads the classes of an imported net, in the order of its outputs."""

from collections import Counter
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.dataset.class_names import WNID, read_labels_by_index, read_lines
from tencrop.model.contract import Label


def read_labels(file: Path | None, classes: int) -> tuple[Label, ...]:
    """Read lines "wnid words", in any order of the wnids, or one name a line; without a file number the classes from 0.

    Where the first word of any line is no wnid, each line is a name and its own id ("3d printer").
    Raises BadInput where the number of lines is not the number of classes, or where a wnid occurs twice.
    """
    if file is None:
        return tuple(Label(str(index), f"class {index}") for index in range(classes))
    lines = read_lines(file)
    if len(lines) != classes:
        raise BadInput(
            f"{file}: has {len(lines)} lines, the net {classes} outputs",
            "give one line a class, in the order of the outputs",
        )
    pairs = [line.split(maxsplit=1) for line in lines]
    if not all(len(pair) == 2 and WNID.fullmatch(pair[0]) for pair in pairs):
        return read_labels_by_index(lines, None)
    id, most = Counter(id for id, _ in pairs).most_common(1)[0]
    if most > 1:
        raise BadInput(f"{file}: the wnid {id!r} occurs twice; each output is a class of its own")
    return tuple(Label(id, words) for id, words in pairs)
