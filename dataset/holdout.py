"""Holdout: the data set's own validation images, else a share of each class, chosen by a hash of the image's id."""

import hashlib

import numpy as np

from tencrop.dataset.source import Entries


def choose_holdout(entries: Entries, share: float) -> np.ndarray:
    """Mark the validation images, bool [n]. `share` does not apply to a data set that has validation images of its own.

    In any other data set these are, in each class, the round(share * size) images whose ids have the lowest SHA-256.
    Nothing is drawn, so the same files give the same holdout on any machine and in any order.
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
