"""dataset/holdout.py: holds out a fixed share of each class, the same images everywhere."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.source import Entries, Entry


def listed(entries: Iterable[Entry]) -> Entries:
    return Entries.collect(Path("photos"), entries, lambda _: None)


ENTRIES = listed(
    Entry(f"class{label}/{number}.jpg", label) for label, size in enumerate((40, 7, 1, 13)) for number in range(size)
)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.15, 0.5, 0.9])
def test_each_class_gives_its_share(share: float) -> None:
    mask = choose_holdout(ENTRIES, share)
    assert mask.dtype == bool
    assert mask.shape == (61,)
    for label, size in enumerate((40, 7, 1, 13)):
        assert sum(mask[i] for i, entry in enumerate(ENTRIES) if entry.label == label) == round(share * size)


def test_the_lowest_hashes_are_held_out() -> None:
    mask = choose_holdout(ENTRIES, 0.25)
    of_class = [
        (hashlib.sha256(entry.id.encode()).hexdigest(), held)
        for entry, held in zip(ENTRIES, mask, strict=True)
        if entry.label == 0
    ]
    assert [held for _, held in sorted(of_class)] == [True] * 10 + [False] * 30


def test_the_order_of_the_images_does_not_change_the_holdout() -> None:
    order = np.random.default_rng(0).permutation(len(ENTRIES))
    shuffled = choose_holdout(listed(ENTRIES[i] for i in order.tolist()), 0.3)
    np.testing.assert_array_equal(shuffled, choose_holdout(ENTRIES, 0.3)[order])


def test_other_classes_do_not_change_the_holdout() -> None:
    mask = choose_holdout(ENTRIES, 0.3)
    np.testing.assert_array_equal(choose_holdout(ENTRIES[:40], 0.3), mask[:40])


def test_a_larger_share_keeps_what_a_smaller_one_held_out() -> None:
    small, large = choose_holdout(ENTRIES, 0.1), choose_holdout(ENTRIES, 0.4)
    assert (large[small]).all()
    assert large.sum() > small.sum()


def test_the_holdout_never_changes() -> None:
    """Numbers written down once: a change would move images from validation into training."""
    mask = choose_holdout(listed(Entry(f"ant/{number}.png", 0) for number in range(10)), 0.2)
    assert np.flatnonzero(mask).tolist() == [4, 6]
