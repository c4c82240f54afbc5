"""The classes of an imported net, in the order of its outputs."""

from pathlib import Path

from dataset.words import labels_by_index, read_lines, read_names
from model.contract import Label
from model.errors import BadInput


def read_labels(file: Path | None, classes: int) -> tuple[Label, ...]:
    """From lines "id words", or one name a line; without a file the classes are numbered from 0.

    An id has a digit in it ("n01440764 tench"); where the first words have none, each line is a name and its own id.
    Raises BadInput where the lines are not as many as the net's outputs.
    """
    if file is None:
        return tuple(Label(str(index), f"class {index}") for index in range(classes))
    lines = read_lines(file)
    if len(lines) != classes:
        raise BadInput(f"{file}: has {len(lines)} lines, the net {classes} outputs; give one line a class, in the order of the outputs")
    pairs = [line.split(maxsplit=1) for line in lines]
    if all(len(pair) == 2 and any(letter.isdigit() for letter in pair[0]) for pair in pairs):
        return tuple(Label(id, words) for id, words in read_names(file).items())
    return labels_by_index(lines, None)
