"""Reads lists of paths and labels: text as of Caffe and ImageNet ("val_1.JPEG 65"), or CSV as of Kaggle."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.label_list import LabelList, Row
from tencrop.images.file_name import is_image

PATHS = ("path", "file_name", "filename", "filepath", "file", "image", "image_id", "image_name", "img", "id", "id_code")
LABEL = "label"
EXPECTED = 'expected lines "path label", or a .csv of two columns or with the columns path and label'
MAX_LIST = 256 << 20  # bytes; the list of ImageNet's 1.3 million training images has 45 MB

Record = tuple[int, list[str]]  # number of the line, and its fields


def open_list(root: Path, file: Path) -> LabelList:
    """Open the list that the user names. Its paths are relative to the root."""
    return LabelList(file, _iter_rows(file), root, root)


def _iter_rows(file: Path) -> Iterator[Row]:
    """Read a .csv with quotes, or a text whose labels follow the last tab of a line, or else its last space.

    A first line that names columns is left out. Raises BadInput, also where it may name columns that are unknown.
    """
    with open_text(file) as lines:
        records = _iter_csv(lines) if file.suffix.lower() == ".csv" else _iter_text(lines)
        start = list(islice(records, 2))
        if not start:
            raise BadInput(f"{file}: is empty", EXPECTED)
        header = start[0][1]
        columns = _find_columns(file, header)
        path, label = columns or (0, 1)
        if not columns and len(start) == 2 and not is_image(header[0]) and is_image(start[1][1][0]):
            raise BadInput(
                f"{file}: line 1 is {one_line(' '.join(header))!r}, no image as in line 2, and no header that is known",
                "call the columns path and label",
            )
        for number, fields in chain(start[1:] if columns else start, records):
            if len(fields) != (len(header) if columns else 2) or not fields[path]:
                raise BadInput(f"{file}: line {number} is {one_line(' '.join(fields))!r}, no path and label", EXPECTED)
            yield Row(fields[path], fields[label].strip())


def _find_columns(file: Path, header: Sequence[str]) -> tuple[int, int] | None:
    """Find the columns of paths and labels in a header; None where no column has one of the names PATHS.

    The column of labels is called label, or is the only other one. Raises BadInput where there is none.
    """
    names = [name.strip().lower() for name in header]
    path = next((names.index(name) for name in PATHS if name in names), None)
    if path is None:
        return None
    if LABEL in names:
        return path, names.index(LABEL)
    if len(names) == 2:
        return path, 1 - path
    shown = one_line(", ".join(header))
    raise BadInput(
        f"{file}: has the columns {shown}, and none is called {LABEL}", f"call the column of classes {LABEL}"
    )


@contextmanager
def open_text(file: Path) -> Iterator[TextIO]:
    """Open a text of at most MAX_LIST bytes. Raises BadInput, also for what goes wrong while it is read."""
    try:
        if file.exists() and not file.is_file():
            raise BadInput(f"{file}: is no file", EXPECTED)
        if file.stat().st_size > MAX_LIST:
            raise BadInput(f"{file}: has more than {MAX_LIST} bytes", EXPECTED)
        with file.open(newline="", encoding="utf-8-sig") as lines:
            yield lines
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{file}: cannot be read as text ({one_line(error)})", EXPECTED) from None


def _iter_csv(lines: TextIO) -> Iterator[Record]:
    reader = csv.reader(lines, strict=True)
    yield from ((reader.line_num, fields) for fields in reader if fields)


def _iter_text(lines: TextIO) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            yield number, [part.strip() for part in text.rsplit("\t" if "\t" in text else " ", 1)]
