"""Which images are for validation: the data set's own, else a fixed share of each class, chosen by a hash of the image's id."""

import hashlib

import numpy as np

from tencrop.dataset.source import Entries


def choose_holdout(entries: Entries, share: float) -> np.ndarray:
    """True for the validation images. Of a data set that brings its own those are it, and `share` does not apply.

    Else in each class the round(share * size) images whose id has the lowest SHA-256: the same files give the same answer
    anywhere, in any order; nothing is drawn.
    """
    if entries.validation is not None:
        return entries.validation
    digests = np.fromiter((hashlib.sha256(entry.id.encode()).digest() for entry in entries), "S32", len(entries))
    order = np.argsort(digests, kind="stable")
    order = order[np.argsort(entries.labels[order], kind="stable")]  # class after class, the lowest hashes first
    mask, start = np.zeros(len(entries), bool), 0
    for size in np.unique(entries.labels, return_counts=True)[1].tolist():
        mask[order[start : start + round(share * size)]] = True
        start += size
    return mask
