"""Reads the label of a sample in a WebDataset tar: a class's number, id or name, as text or in JSON."""

import json
from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.class_lookup import ClassLookup
from tencrop.dataset.tar import MISSING, Member
from tencrop.dataset.tar_opener import TarOpener

KEYS = ("label", "cls")  # of a JSON object; the first that has a value holds the label
CAPTION = "txt"  # the field that often holds a caption instead
MAX_LABEL = 1 << 20  # bytes of a file with a label


def read_label(
    opener: TarOpener, file: Path, field: str, member: Member, classes: ClassLookup, optional: bool
) -> int | None:
    """Read the number of a class from a field of a sample; None where the field is JSON about other things.

    optional: whether samples may be without a label, so that -1 and a caption are none. Raises BadInput where the field
    names no class.
    """
    if member.size == MISSING:
        raise BadInput(f"{file}: {member.name} is a link to a file that is not in the tar", "write the tar again")
    try:
        if member.size > MAX_LABEL:
            raise ValueError(f"{member.size} bytes")
        text = opener.read(file, member.start, member.size).decode().strip()
        value = _parse(field.rpartition(".")[2], text)
    except (ValueError, OSError, RecursionError) as error:
        raise BadInput(f"{file}: {member.name} holds no label ({one_line(error)})", "write the tar again") from None
    label = classes.find(value) if isinstance(value, int | str) and not isinstance(value, bool) else None
    if label is not None or value is None or (optional and (field == CAPTION or value in (-1, "-1"))):
        return label
    raise BadInput(
        f"{file}: {member.name} holds {one_line(repr(value))}, which is none of the {classes.count} named classes",
        classes.advise(value, f"expected a class's id or name, or a number from 0 to {classes.count - 1}"),
    )


def _parse(kind: str, text: str) -> Any:
    """Parse a label. A number in .cls is always the number of a class. Raises ValueError for damaged JSON."""
    if kind == "json":
        document = json.loads(text)
        if isinstance(document, dict):
            return next((document[key] for key in KEYS if document.get(key) is not None), None)
        return document
    return int(text) if kind == "cls" and text.isdecimal() else text
