"""FiftyOneImageClassificationDataset: labels.json and data/, at the top or in the folder of each split.

labels.json is {"classes": ["cat", "dog"], "labels": {"000001": 0, ...}}: paths below data/, which may lack the suffix,
and positions in the classes. Without classes the labels are names; null is none.
https://docs.voxel51.com/user_guide/import_datasets.html
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.label_list import LabelList, Row
from tencrop.dataset.list_file import open_text
from tencrop.dataset.names_file import make_ids
from tencrop.dataset.split_folders import list_split_folders

LABELS, DATA = "labels.json", "data"
EXPECTED = 'expected {"classes": [...], "labels": {"000001": 0, ...}}'


def find_fiftyone(root: Path) -> list[LabelList]:
    """Find labels.json and data/ at the top, else in the folders of splits."""
    for tops in ([(root, None)], list_split_folders(root)):
        found = [
            LabelList(top / LABELS, _iter_rows(top / LABELS), top, top / DATA, split)
            for top, split in tops
            if (top / LABELS).is_file() and (top / DATA).is_dir()
        ]
        if found:
            return found
    return []


def _iter_rows(file: Path) -> Iterator[Row]:
    """Yield the images with the names of their classes. Raises BadInput."""
    with open_text(file) as opened:
        try:
            document = json.load(opened)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{file}: is not JSON ({one_line(error)})", EXPECTED) from None
    labels = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(labels, dict):
        raise BadInput(f"{file}: holds no labels by image", EXPECTED)
    classes = document.get("classes")
    ids = [label.id for label in make_ids([str(name) for name in classes])] if isinstance(classes, list) else None
    for path, target in labels.items():
        try:
            yield Row(path, _name_class(ids, target))
        except (TypeError, IndexError):
            shown = one_line(json.dumps(target))
            raise BadInput(f"{file}: the label of {path!r} is {shown}, none of the classes", EXPECTED) from None


def _name_class(classes: Sequence[str] | None, target: Any) -> str | None:
    """Name the class of a target: a position in the classes, a name, or an object that holds one of them as its label.

    Raises TypeError or IndexError for anything else.
    """
    label = target.get("label") if isinstance(target, dict) else target
    if label is None or isinstance(label, str):
        return label
    if not isinstance(label, int) or isinstance(label, bool) or label < 0:
        raise TypeError(label)
    return str(label) if classes is None else classes[label]
