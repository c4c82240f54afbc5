"""Which images are held out for validation: a fixed share of each class, chosen by a hash of the image's id."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dataset.layouts import Entry


def held_out(entries: Sequence[Entry], share: float) -> np.ndarray:
    """True for the held-out entries: in each class the round(share * size) images whose id has the lowest SHA-256.

    The same files give the same answer anywhere, in any order; nothing is drawn.
    """
    classes: dict[int, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        classes[entry.label].append(index)
    mask = np.zeros(len(entries), bool)
    for members in classes.values():
        members.sort(key=lambda index: hashlib.sha256(entries[index].id.encode()).digest())
        mask[members[: round(share * len(members))]] = True
    return mask
