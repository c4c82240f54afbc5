"""dataset/source.py: entries stored in columns equal the entries that were added, and are small."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tencrop.common.errors import BadInput
from tencrop.dataset import source
from tencrop.dataset.source import Entries, Entry, ignore_progress
from tencrop.images.file_name import SUFFIXES, is_image
from tencrop.images.formats import FORMATS

ENTRIES = [Entry(f"naïve/{n}.jpg", n % 3, n % 5 == 0, (n, 10 * n, 2**40 + n)) for n in range(25)]


@pytest.mark.parametrize("block", [1, 7, 25, 1000])
def test_entries_equal_those_that_were_added(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(source, "BLOCK", block)
    entries = Entries.collect(Path("x"), iter(ENTRIES), ignore_progress)
    assert len(entries) == 25
    assert list(entries) == ENTRIES == [entries[i] for i in range(25)]
    assert entries[-1] == ENTRIES[-1]
    assert list(entries[3:20:4]) == ENTRIES[3:20:4]
    assert list(entries.select(entries.labels == 1)) == ENTRIES[1::3]
    with pytest.raises(IndexError):
        entries[25]


def test_without_one_validation_image_there_is_no_split() -> None:
    entries = Entries.collect(Path("x"), (entry._replace(validation=False) for entry in ENTRIES), ignore_progress)
    assert entries.validation is None and entries[0].validation is None and next(iter(entries)).validation is None


def test_a_slice_of_training_images_keeps_its_split() -> None:
    entries = Entries.collect(Path("x"), ENTRIES, ignore_progress)
    assert [entry.validation for entry in entries[1:3]] == [False, False]


def test_listing_reports_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BLOCK", 10)
    heard: list[int] = []
    Entries.collect(Path("x"), ENTRIES, heard.append)
    assert heard == [10, 20, 25]


def test_an_id_twice_is_bad_input_naming_it() -> None:
    with pytest.raises(BadInput, match=r"x: holds 'naïve/7\.jpg' twice"):
        Entries.collect(Path("x"), [*ENTRIES, ENTRIES[7]], ignore_progress)


def test_a_data_set_without_images_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"x: holds no images \(\.apng, "):
        Entries.collect(Path("x"), [], ignore_progress)


def test_a_million_entries_take_less_than_a_hundred_bytes_each() -> None:
    def many() -> Iterator[Entry]:
        yield from (
            Entry(f"train/n01440764/n01440764_{n}.JPEG", n % 1000, False, (0, 110_000 * n, 110_000))
            for n in range(100_000)
        )

    entries = Entries.collect(Path("x"), many(), ignore_progress)
    assert entries.ids.nbytes + entries.labels.nbytes + entries.places.nbytes + sys.getsizeof(entries) < 100 * len(
        entries
    )
    assert isinstance(entries.places, np.ndarray)


def test_images_are_known_by_their_suffix() -> None:
    assert all(map(is_image, ("a.jpg", "d/a.JPEG", "d.e/a.b.webp")))
    assert not any(map(is_image, ("a", "jpg", ".jpg", "d/.a.jpg", "d/._a.jpg", "a.txt", "a.jpg/b", "d/.jpg")))


def test_images_have_the_suffixes_that_pillow_knows_of_the_formats_that_are_read() -> None:
    Image.init()
    assert {suffix for suffix, format in Image.registered_extensions().items() if format in FORMATS} == SUFFIXES
